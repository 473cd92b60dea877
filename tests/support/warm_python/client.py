"""What stands in for `python` beside a warm interpreter: it asks the server to run a program, and ends as that ends.

Started as `client.py ADDRESS INTERPRETER [arguments of python]`. Anything but a program's file goes to the interpreter.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path


def main() -> None:
    address, interpreter, *arguments = sys.argv[1:]
    if not arguments or not arguments[0].endswith(".py"):
        os.execv(interpreter, [interpreter, *arguments])
    asked = {"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    message = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [len(message).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(message)
        process = number(server)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda received, _: os.kill(process, received))
        status = number(server)
    if status < 0:  # as shells see it
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def number(server: socket.socket) -> int:
    received = server.recv(4, socket.MSG_WAITALL)
    if len(received) < 4:
        sys.exit("the server of warm programs has ended")
    return int.from_bytes(received, "big", signed=True)


if __name__ == "__main__":
    main()
