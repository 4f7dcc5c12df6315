"""The most memory that a command held, as the operating system counted it."""

import subprocess
import sys

# The peak of a process includes that of its parent before it became another program, so a small one starts it.
_RUN = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
)


def peak_of(*arguments: object) -> int:
    """Largest resident memory of the command `ps3d ARGUMENTS`, bytes."""
    command = [sys.executable, "-c", _RUN, sys.executable, "-m", "ps3d_app.flows.command.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
