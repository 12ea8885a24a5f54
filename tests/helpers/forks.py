"""Processes of tests that are forks of one which has imported everything: imports take longer than short work.

A worker of the suite has one such process at most, with the modules of whoever starts it first, so all take this one.
"""

import multiprocessing

import lightning.fabric  # noqa: F401 (as the loop does when it begins)

import surgvl.chat.tune  # noqa: F401
import surgvl.cli.help  # noqa: F401
import surgvl.commands.align  # noqa: F401
import surgvl.commands.eval  # noqa: F401
import surgvl.commands.pretrain  # noqa: F401
import surgvl.commands.probe  # noqa: F401
import surgvl.commands.suite  # noqa: F401
import surgvl.commands.tune  # noqa: F401
import surgvl.models.checkpoint  # noqa: F401 (with all kinds of models)
import surgvl.train.loop  # noqa: F401

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
