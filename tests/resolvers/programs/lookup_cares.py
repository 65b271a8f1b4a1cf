"""Looks names up with c-ares: for each argument one line, the name and its
addresses, or the error."""

import select
import socket
import sys

import pycares


def lookup(name):
    channel = pycares.Channel()
    said = []

    def done(result, error):
        if error is not None:
            said.append("error: " + pycares.errno.strerror(error))
        else:
            said.extend(node.addr[0].decode() for node in result.nodes)

    channel.getaddrinfo(name, None, done, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
    while not said:
        readable, writable = channel.getsock()
        if not readable and not writable:
            break
        ready = select.select(readable, writable, [], channel.timeout(1.0))
        for descriptor in ready[0]:
            channel.process_fd(descriptor, pycares.ARES_SOCKET_BAD)
        for descriptor in ready[1]:
            channel.process_fd(pycares.ARES_SOCKET_BAD, descriptor)
        if not ready[0] and not ready[1]:
            channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
    print(name, *said, flush=True)


for argument in sys.argv[1:]:
    lookup(argument)
