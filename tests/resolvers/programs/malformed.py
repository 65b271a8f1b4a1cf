"""Messages that a resolver never sends, to the server on 127.0.0.1:53, built
byte by byte and read with dnspython: one line for each that got its due."""

import socket
import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

SERVER = ("127.0.0.1", 53)
NAME = b"\x05hello\x03run\x08internal\x00"
IN_A = struct.pack("!HH", 1, 1)
OPT = b"\x00" + struct.pack("!HHIH", 41, 1232, 0, 0)
ID = 0x1D1D


def header(flags=0x0100, qd=1, an=0, ns=0, ar=0):
    return struct.pack("!HHHHHH", ID, flags, qd, an, ns, ar)


def exchange(message, patience=10.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(SERVER)
        udp.settimeout(patience)
        udp.send(message)
        return udp.recv(65535)


def expect(label, message, rcode, opcode=0):
    wire = exchange(message)
    assert wire[:2] == message[:2], f"{label}: another id"
    reply = dns.message.from_wire(wire)
    assert reply.flags & dns.flags.QR, label
    assert reply.opcode() == opcode, f"{label}: opcode {reply.opcode()}"
    assert reply.rcode() == rcode, f"{label}: {dns.rcode.to_text(reply.rcode())}"
    print(label)
    return reply, wire


def dropped(label, message):
    """It must get no answer: the answer to what follows comes first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(SERVER)
        udp.settimeout(10)
        udp.send(message)
        udp.send(struct.pack("!H", 0x2E2E) + (header() + NAME + IN_A)[2:])
        assert udp.recv(65535)[:2] == b"\x2e\x2e", f"{label}: it was answered"
    print(label)


FORMERR, NOTIMP, REFUSED = dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.REFUSED
question = NAME + IN_A

for length in range(12):
    dropped(f"{length} bytes", (header() + question)[:length])
dropped("a response", header(flags=0x8180) + question)
dropped("a response of many records", header(flags=0x8180, an=65535) + question)

expect("no question", header(qd=0), FORMERR)
expect("two questions", header(qd=2) + question + question, FORMERR)
expect("65535 questions", header(qd=65535) + question, FORMERR)
expect("an answer in a query", header(an=1) + question, FORMERR)
expect("65535 answers", header(an=65535) + question, FORMERR)
expect("an authority in a query", header(ns=1) + question, FORMERR)
expect("three additional records", header(ar=3) + question + OPT * 3, FORMERR)
expect("65535 additional records", header(ar=65535) + question, FORMERR)
expect("two OPTs", header(ar=2) + question + OPT + OPT, FORMERR)
expect("half an OPT", header(ar=1) + question + OPT[:6], FORMERR)
expect("an OPT longer than the message", header(ar=1) + question + OPT[:-2] + b"\xff\xff", FORMERR)
expect("an OPT that is not there", header(ar=1) + question, FORMERR)
expect("an option longer than its OPT",
       header(ar=1) + question + OPT[:-2] + b"\x00\x04\x00\x0a\xff\xff", FORMERR)
expect("half a question", header() + NAME, FORMERR)
expect("half a name", header() + NAME[:8], FORMERR)
expect("a pointer to itself", header() + b"\xc0\x0c" + IN_A, FORMERR)
expect("a pointer forward", header() + b"\xc0\x12" + IN_A + NAME, FORMERR)
expect("two pointers in a ring", header() + b"\x01a\xc0\x10\xc0\x0c" + IN_A, FORMERR)
expect("a label type of old", header() + b"\x41\x05hello\x00" + IN_A, FORMERR)
expect("a label of 64 bytes", header() + b"\x40" + b"a" * 64 + b"\x00" + IN_A, FORMERR)
expect("a name of 257 bytes", header() + (b"\x3f" + b"a" * 63) * 4 + b"\x00" + IN_A, FORMERR)

for opcode in (1, 2, 3, 4, 5, 6, 14, 15):
    flags = opcode << 11
    expect(f"opcode {opcode}", header(flags) + question, NOTIMP, opcode)
    expect(f"opcode {opcode}, a header alone", header(flags, qd=0), NOTIMP, opcode)

for name, number in (("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255), ("0", 0)):
    expect(f"class {name}", header() + NAME + struct.pack("!HH", 1, number), REFUSED)
for qtype in (251, 252):
    expect(f"transfer {qtype}", header() + NAME + struct.pack("!HH", qtype, 1), REFUSED)

for version in (1, 2, 127, 255):
    opt = b"\x00" + struct.pack("!HHIH", 41, 1232, version << 16 | 0x8000, 0)
    reply, _ = expect(f"EDNS {version}", header(ar=1) + question + opt, dns.rcode.BADVERS)
    assert reply.edns == 0 and reply.ednsflags & dns.flags.DO and not reply.answer
for option in (0, 3, 8, 9, 10, 11, 12, 65535):
    opt = OPT[:-2] + struct.pack("!HHH", 8, option, 4) + b"\x00\x01\x00\x00"
    reply, _ = expect(f"option {option}", header(ar=1) + question + opt, dns.rcode.NOERROR)
    assert reply.edns == 0 and not reply.options, f"option {option} came back"
for size in (0, 1, 511, 65535):
    opt = b"\x00" + struct.pack("!HHIH", 41, size, 0, 0)
    expect(f"a payload of {size}", header(ar=1) + question + opt, dns.rcode.NOERROR)

mixed = b"\x05hElLo\x03RuN\x08iNtErNaL\x00"
reply, wire = expect("spelling kept", header() + mixed + IN_A, dns.rcode.NOERROR)
assert wire[12:12 + len(mixed)] == mixed
assert [str(record) for record in reply.answer[0]] == ["127.0.0.1"]
expect("bytes behind the message", header() + question + b"\x00" * 40, dns.rcode.NOERROR)


def framed(message):
    return struct.pack("!H", len(message)) + message


def numbered(number, name):
    return struct.pack("!H", number) + (header() + name + IN_A)[2:]


def read_message(stream):
    size = struct.unpack("!H", stream.read(2))[0]
    message = stream.read(size)
    assert len(message) == size
    return dns.message.from_wire(message)


external = b"\x07example\x03com\x00"
with socket.create_connection(SERVER, 10) as tcp:
    asked = {n: numbered(n, NAME if n % 2 else external) for n in range(200)}
    tcp.sendall(b"".join(framed(message) for message in asked.values()))
    tcp.shutdown(socket.SHUT_WR)
    stream = tcp.makefile("rb")
    got = {read_message(stream).id for _ in asked}
    assert got == set(asked), "a half-closed client gets all its answers"
    assert stream.read() == b"", "and then the end"
print("pipelined, half closed")

with socket.create_connection(SERVER, 10) as tcp:
    for byte in framed(numbered(7, NAME)):
        tcp.sendall(bytes([byte]))
    assert read_message(tcp.makefile("rb")).id == 7
print("byte by byte")
