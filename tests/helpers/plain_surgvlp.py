"""SurgVLP's transform and forward pass, written from the description of its layout, on a state dict."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import transforms
from transformers import BertConfig, BertModel

from tests.helpers.made_published import SPECIAL, WORDS

CUT = transforms.Compose([transforms.Resize((360, 640)), transforms.CenterCrop(224)])
TRANSFORM = transforms.Compose(
    [
        CUT,
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def plain_resnet(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """ResNet-50 with the stride in the 3 x 3 convolution, and the projection: [N, 3, H, W] -> [N, E]."""

    def convolve(x: Tensor, conv: str, norm: str, stride: int = 1, padding: int = 0) -> Tensor:
        at = "backbone_img.model."
        mean, var, weight, bias = (
            state[f"{at}{norm}.{each}"] for each in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.conv2d(x, state[f"{at}{conv}.weight"], stride=stride, padding=padding)
        return F.batch_norm(x, mean, var, weight, bias, eps=1e-5)

    x = F.max_pool2d(F.relu(convolve(x, "conv1", "bn1", 2, 3)), 3, 2, 1)
    for layer, count in enumerate((3, 4, 6, 3), start=1):
        for number in range(count):
            block, stride = f"layer{layer}.{number}", 2 if layer > 1 and number == 0 else 1
            y = F.relu(convolve(x, f"{block}.conv1", f"{block}.bn1"))
            y = F.relu(convolve(y, f"{block}.conv2", f"{block}.bn2", stride, 1))
            y = convolve(y, f"{block}.conv3", f"{block}.bn3")
            if number == 0:
                x = convolve(x, f"{block}.downsample.0", f"{block}.downsample.1", stride)
            x = F.relu(x + y)
    at = "backbone_img.global_embedder"
    return F.linear(x.mean((2, 3)), state[f"{at}.weight"], state[f"{at}.bias"])


def plain_text(state: dict[str, Tensor], pieces: str) -> Tensor:
    """The mean over 77 positions of words, each the sum of its pieces and of four layers: [E]."""
    at = "backbone_text.model."
    own = {name.removeprefix(at): value for name, value in state.items() if name.startswith(at)}
    del own["embeddings.position_ids"]
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=64,
        num_hidden_layers=5,
        num_attention_heads=1,
        intermediate_size=48,
        output_hidden_states=True,
    )
    bert = BertModel(config).eval()
    bert.load_state_dict(own)
    vocabulary = SPECIAL + WORDS
    ids = [vocabulary.index(word) for word in ["[CLS]", *pieces.split(), "[SEP]"]]
    length, rest = len(ids), 77 - len(ids)
    mask = torch.tensor([[1] * length + [0] * rest])
    hidden = bert(torch.tensor([ids + [0] * rest]), mask, torch.zeros_like(mask)).hidden_states[-4:]
    words = torch.zeros(77, 64)
    # The authors stop at the first separator.
    for position in range(ids.index(3) + 1):
        words[position] = sum(layer[0, position] for layer in hidden)
    return words.mean(0)
