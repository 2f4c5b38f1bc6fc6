"""Layout, frames and transports: SPEC.md sections 1 to 3, over TCP and over a WebSocket client of its own (RFC 6455)."""

import base64
import hashlib
import secrets
import socket
import struct

TIMEOUT_S = 20
MAGIC = b"\xab\xcd"
HELLO, CHALLENGE, PROOF, WELCOME, CLOSE, PING, PONG, STREAM_OPEN, STREAM_ID = range(1, 10)
METRIC_SET, TELEMETRY, BACKFILL, ACK, NACK, SKIP = range(0x10, 0x16)
COMMAND, DELIVERED, PROGRESS, RESULT, RESULT_ACK, CANCEL, COMMAND_SET = range(0x20, 0x27)
LIVE_WELCOME, SUBSCRIBE, UNSUBSCRIBE, SERIES_DEF, BATCH, PRESENCE, GAP, HEARTBEAT = range(0x80, 0x88)
ALERT, COMMAND_STATE, SNAPSHOT_END, REFUSED, TEXTS, EVENTS_LOST = range(0x88, 0x8E)
F64, F32, I64, BOOL, TEXT = range(5)


# --- layout, section 3


def varint(value):
    if value < 251:
        return bytes([value])
    for mark, width in ((0xFB, 2), (0xFC, 4), (0xFD, 8)):
        if value < 1 << (8 * width):
            return bytes([mark]) + value.to_bytes(width, "little")
    raise ValueError(f"{value} does not fit u64")


def zigzag(value):
    return varint((value << 1) ^ (value >> 63) if value >= 0 else ((-value) << 1) - 1)


def string(text):
    data = text.encode()
    return varint(len(data)) + data


def sequence_of(items):
    return varint(len(items)) + b"".join(items)


class Reader:
    """Reads a payload; what is left over at the end is ignored, as section 3 says."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise AssertionError(f"payload ends inside a field: {self.data.hex()}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        first = self.u8()
        if first < 251:
            return first
        width = {0xFB: 2, 0xFC: 4, 0xFD: 8}[first]
        value = int.from_bytes(self.take(width), "little")
        shortest = varint(value)
        assert len(shortest) == width + 1, f"{value} is not in its shortest form"
        return value

    def zigzag(self):
        value = self.varint()
        return value >> 1 if value & 1 == 0 else -((value + 1) >> 1)

    def string(self):
        return self.take(self.varint()).decode()

    def bool(self):
        value = self.u8()
        assert value in (0, 1), f"bool is {value}"
        return value == 1

    def optional(self, item):
        return item() if self.bool() else None

    def f64(self):
        return struct.unpack("<d", self.take(8))[0]

    def list(self, item):
        return [item() for _ in range(self.varint())]


def frame(kind, payload):
    return MAGIC + struct.pack(">BBI", 1, kind, len(payload)) + payload


def split_header(header):
    magic, version, kind, length = header[:2], header[2], header[3], struct.unpack(">I", header[4:8])[0]
    assert magic == MAGIC and version == 1, f"header is {header.hex()}"
    return kind, length


# --- transports, section 1


class Ended(Exception):
    """The other side ended the connection."""


class Tcp:
    name = "tcp"

    def __init__(self, address):
        self.socket = socket.create_connection(address, TIMEOUT_S)
        self.close_code = None

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise Ended()
            data += part
        return data

    def frame(self):
        header = self.exactly(8)
        kind, length = split_header(header)
        payload = self.exactly(length)
        return kind, payload, header + payload

    def close(self):
        self.socket.close()


class WebSocket(Tcp):
    """RFC 6455, client side: as much as binary messages need."""

    name = "websocket"

    def __init__(self, address, path, headers=()):
        super().__init__(address)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {address[0]}:{address[1]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.exactly(1)
        status, *rest = answer.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        self.frames = []
        if self.status == 101:
            digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            assert self.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()

    def message(self, opcode, data):
        length = len(data)
        head = bytes([0x80 | opcode])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 1 << 16:
            head += bytes([0x80 | 126]) + struct.pack(">H", length)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", length)
        mask = secrets.token_bytes(4)
        self.socket.sendall(head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data)))

    def send(self, *frames):
        self.message(2, b"".join(frames))

    def read_message(self):
        whole, kind = b"", None
        while True:
            first, second = self.exactly(2)
            opcode, length = first & 15, second & 127
            assert second & 128 == 0, "a server must not mask"
            if length == 126:
                length = struct.unpack(">H", self.exactly(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.exactly(8))[0]
            data = self.exactly(length)
            if opcode == 8:
                self.close_code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else None
                raise Ended()
            if opcode == 9:
                self.message(10, data)
            elif opcode in (0, 1, 2):
                kind = opcode or kind
                whole += data
                if first & 128:
                    assert kind == 2, "the server sent a text message"
                    return whole

    def frame(self):
        while not self.frames:
            message, at = self.read_message(), 0
            while at < len(message):
                kind, length = split_header(message[at : at + 8])
                end = at + 8 + length
                assert end <= len(message), "a frame spans two messages"
                self.frames.append((kind, message[at + 8 : end], message[at:end]))
                at = end
            if any(kind == BATCH for kind, _, _ in self.frames):
                assert len(self.frames) == 1, "a BATCH is alone in its message"
        return self.frames.pop(0)
