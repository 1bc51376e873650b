"""What paramiko's users do, against the server at a port of this machine: PORT KEY (with KEY-cert.pub)."""

import hashlib
import io
import os
import socket
import sys
import tempfile
import threading

import paramiko

port, key_file = int(sys.argv[1]), sys.argv[2]
stranger = tempfile.mkdtemp() + "/key"
paramiko.ECDSAKey.generate().write_private_key_file(stranger)
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
# A key that is refused comes first; what paramiko asks for anew before each of them is the service.
client.connect(
    "127.0.0.1",
    port,
    "claw",
    key_filename=[stranger, key_file],
    look_for_keys=False,
    allow_agent=False,
    timeout=30,
    banner_timeout=30,
    auth_timeout=30,
)
transport = client.get_transport()
transport.set_keepalive(1)


def run(command, given=b""):
    channel = transport.open_session(timeout=30)
    channel.settimeout(60)
    channel.exec_command(command)
    channel.sendall(given)
    channel.shutdown_write()
    out, err = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
    return out, err, channel.recv_exit_status()


assert run("cat; echo wrong >&2; exit 3", b"given") == (b"given", b"wrong\n", 3)
assert run("head -c 3000000 /dev/zero")[0] == bytes(3000000)
print("exec")

content = os.urandom(1 << 20) * 24
digest = hashlib.sha256(content).digest()
folder = tempfile.mkdtemp()
with open(f"{folder}/far", "wb") as file:
    file.write(content)
sftp = client.open_sftp()
sftp.get_channel().settimeout(60)
# get() asks for the whole file ahead, some hundred requests, before it reads an answer.
sftp.get(f"{folder}/far", f"{folder}/near")
with open(f"{folder}/near", "rb") as file:
    assert hashlib.sha256(file.read()).digest() == digest
# And beside it a channel that nobody reads from.
silent = transport.open_session(timeout=30)
silent.exec_command("yes")
with sftp.open(f"{folder}/far", "rb") as file:
    file.prefetch()
    assert hashlib.sha256(file.read()).digest() == digest
silent.close()
print("prefetch")

with sftp.open(f"{folder}/put", "wb") as file:
    file.set_pipelined(True)
    file.write(content)
assert sftp.stat(f"{folder}/put").st_size == len(content)
sftp.putfo(io.BytesIO(b"small"), f"{folder}/small", confirm=True)
assert sorted(sftp.listdir(folder)) == ["far", "near", "put", "small"]
for name in sftp.listdir(folder):
    sftp.remove(f"{folder}/{name}")
sftp.rmdir(folder)
print("put")

listener = socket.create_server(("127.0.0.1", 0))


def echo():
    peer, _ = listener.accept()
    while data := peer.recv(65536):
        peer.sendall(data)
    peer.close()


threading.Thread(target=echo, daemon=True).start()
channel = transport.open_channel("direct-tcpip", listener.getsockname(), ("127.0.0.1", 1), timeout=30)
channel.settimeout(60)
threading.Thread(target=lambda: (channel.sendall(content), channel.shutdown_write()), daemon=True).start()
received = hashlib.sha256()
while data := channel.recv(65536):
    received.update(data)
assert received.digest() == digest
print("forward")

remote = transport.request_port_forward("127.0.0.1", 0)
outer = socket.create_connection(("127.0.0.1", remote), timeout=60)
inner = transport.accept(60)
inner.settimeout(60)
outer.sendall(b"from outside")
assert inner.recv(100) == b"from outside"
inner.sendall(b"from inside")
assert outer.recv(100) == b"from inside"
inner.close()
assert outer.recv(100) == b""
transport.cancel_port_forward("127.0.0.1", remote)
print("reverse forward")

shell = client.invoke_shell(term="xterm", width=91, height=23)
shell.settimeout(60)
shell.sendall("stty size; exit 5\n")
said = b""
while data := shell.recv(4096):
    said += data
assert b"23 91" in said, said
assert shell.recv_exit_status() == 5
print("terminal")
client.close()
