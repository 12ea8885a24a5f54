"""Lightning Fabric from a run's settings: devices, nodes, strategy and precision; and torch.compile."""

import logging
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from surgvl.core.errors import ConfigError
from surgvl.train.config import Run, precision
from surgvl.train.distributed import blocks, shard
from surgvl.train.import_fabric import forget_package, lazy_package
from surgvl.train.objective import Objective

try:
    lazy_package("lightning")
    lazy_package("torchmetrics")
    from lightning.fabric import Fabric
    from lightning.fabric.plugins import MixedPrecision
    from lightning.fabric.strategies.ddp import DDPStrategy
    from lightning.fabric.strategies.model_parallel import ModelParallelStrategy

    forget_package("torchmetrics")
except ImportError as error:
    raise ConfigError("training needs lightning, which is not installed: pip install 'surgvl[train]'") from error


class Autocast(MixedPrecision):
    """Mixed precision by autocast alone: batches stay float32, because the targets of a loss should.

    Autocast's cache of cast weights is off: weights that a monitor casts first, without gradients, would get none.
    """

    def convert_input(self, data: Any) -> Any:
        """Return the batch unchanged."""
        return data

    def forward_context(self) -> torch.autocast:
        """Autocast to the run's dtype."""
        dtype = torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16
        return torch.autocast(self.device, dtype=dtype, cache_enabled=False)


def launch(run: Run) -> Fabric:
    """Create Fabric for a run and start all its processes.

    Args:
        run: run settings.

    Raises:
        ConfigError: the machine has no such device.
    """
    for name in ("lightning.fabric", "lightning.pytorch"):  # Fabric logs under both names
        logging.getLogger(name).setLevel(logging.WARNING)
    strategy: Any = "auto"
    if run.strategy == "fsdp":

        def parallelize(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
            shard(module, mesh["data_parallel"])
            return module

        strategy = ModelParallelStrategy(parallelize, run.devices * run.nodes, 1, save_distributed_checkpoint=False)
    elif run.strategy == "ddp" or run.devices * run.nodes > 1:
        strategy = DDPStrategy(gradient_as_bucket_view=True)
    device = run.accelerator
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}[device]:
        raise ConfigError(
            f"--run.accelerator must be a device that torch finds on this machine, got {device}: use auto"
        )
    word: Any = precision(run.precision, device)
    numbers: dict[str, Any] = {"plugins": Autocast(word, device)} if "mixed" in word else {"precision": word}
    fabric = Fabric(accelerator=device, strategy=strategy, devices=run.devices, num_nodes=run.nodes, **numbers)
    fabric.launch()
    return fabric


def compile_modules(objective: Objective, by_block: bool) -> None:
    """Compile the modules that an objective names, in place, so that all names in its state dict stay the same.

    Args:
        objective: before it is set up for a strategy.
        by_block: compile each block of a stack alone: gathering the parameters of a block, as fsdp does, cannot be part
            of a graph.
    """
    for module in objective.modules_to_compile():
        for part in (by_block and blocks(module)) or [module]:
            part.compile()
