"""`surgvl serve` whose engines are forks of a process that is there and has imported vLLM (`vllm_forks`).

python -m tests.helpers.serve_with SOCKET WORDS...
"""

import socket
import sys

from surgvl.cli import main as cli
from surgvl.serve import server
from surgvl.serve.supervisor import Supervisor

if __name__ == "__main__":
    number, *words = sys.argv[1:]
    vars(server)["Supervisor"] = lambda: Supervisor(socket.socket(fileno=int(number)))
    sys.exit(cli.main(["serve", *words]))
