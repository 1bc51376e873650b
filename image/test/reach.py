# What the sandbox can reach, by every kind of socket that could: nothing, if all is well.
import socket

TARGETS = [
    ("GATEWAY", 22), ("GATEWAY", 18789), ("HOST", 9999), ("HOST", 22), ("OUTSIDE", 80),
    ("127.0.0.1", 2222),
]
tried = reached = 0


def attempt(name, connect):
    global tried, reached
    tried += 1
    try:
        connect()
        reached += 1
        print(f"{name}: REACHED")
    except OSError as error:
        print(f"{name}: no ({error})")


def udp(host, port):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (host, port))


for host, port in TARGETS:
    attempt(f"{host}:{port}/tcp", lambda: socket.create_connection((host, port), timeout=3).close())
attempt("OUTSIDE:53/udp", lambda: udp("OUTSIDE", 53))
attempt("the host by vsock", lambda: socket.socket(socket.AF_VSOCK).connect((2, 22)))
attempt("raw packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
print(f"tried {tried}, reached {reached}")
