#!/usr/bin/env python3
"""Speaks the Pulsewire protocol to a running server and checks every answer against SPEC.md.

Written from proto-spec/SPEC.md and docs/http-api.md alone, with the standard library only: it shares no code with the
server, so a mistake that encoder and decoder of the server have in common shows up here.

    PULSEWIRE_PASSWORD=... conformance.py --http http://127.0.0.1:8080 --device 127.0.0.1:7410

Prints one line per check on standard error and a JSON summary on standard output; exit status 0 means that all passed.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import secrets
import socket
import struct
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

TIMEOUT_S = 20
MAGIC = b"\xab\xcd"
HELLO, CHALLENGE, PROOF, WELCOME, CLOSE, PING, PONG, STREAM_OPEN, STREAM_ID = range(1, 10)
METRIC_SET, TELEMETRY, BACKFILL, ACK, NACK, SKIP = range(0x10, 0x16)
LIVE_WELCOME, SUBSCRIBE, UNSUBSCRIBE, SERIES_DEF, BATCH, PRESENCE, GAP, HEARTBEAT = range(0x80, 0x88)
SNAPSHOT_END, REFUSED, TEXTS = 0x8A, 0x8B, 0x8C
F64, F32, I64, BOOL, TEXT = range(5)


# --- layout, section 3 ---------------------------------------------------------------------------------------------


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

    def list(self, item):
        return [item() for _ in range(self.varint())]


def frame(kind, payload):
    return MAGIC + struct.pack(">BBI", 1, kind, len(payload)) + payload


def split_header(header):
    magic, version, kind, length = header[:2], header[2], header[3], struct.unpack(">I", header[4:8])[0]
    assert magic == MAGIC and version == 1, f"header is {header.hex()}"
    return kind, length


# --- transports, section 1 -----------------------------------------------------------------------------------------


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


# --- the HTTP API --------------------------------------------------------------------------------------------------


class Api:
    def __init__(self, base, token):
        self.base, self.token = base.rstrip("/"), token

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def sign_in(self, password):
        self.token = self.call("POST", "/api/v1/session", {"user": "admin", "password": password})["token"]

    def history(self, device, metric):
        query = urllib.parse.urlencode({"device": device, "metric": metric})
        items = self.call("GET", "/api/v1/history?" + query)["items"]
        return [(time_us(item["time"]), item["value"]) for item in items]


def time_us(text):
    assert text.endswith("Z"), text
    whole, _, decimals = text[:-1].partition(".")
    seconds = int(time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))) - time.timezone
    return seconds * 1_000_000 + int(decimals.ljust(6, "0") or 0)


# --- a device, sections 4 to 6 -------------------------------------------------------------------------------------


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


class Closed(Exception):
    def __init__(self, code, text, reconnect, retry_after_ms):
        super().__init__(f"closed with {code}: {text}")
        self.code, self.text, self.reconnect, self.retry_after_ms = code, text, reconnect, retry_after_ms


def read_close(payload):
    r = Reader(payload)
    return Closed(r.varint(), r.string(), r.bool(), r.varint())


class Device:
    def __init__(self, transport, device, streams=()):
        self.transport, self.device, self.streams = transport, device, list(streams)

    def receive(self, *wanted):
        """The next frame of a wanted type; PING is answered on the way, anything else is a mistake."""
        while True:
            kind, payload, raw = self.transport.frame()
            if kind == CLOSE and CLOSE not in wanted:
                raise read_close(payload)
            if kind in wanted:
                return kind, payload, raw
            assert kind == PING, f"type {kind:#x} came, {[hex(w) for w in wanted]} is wanted"
            self.transport.send(frame(PONG, payload))

    def hello(self, login):
        streams = sequence_of([varint(stream) for stream in self.streams])
        fields = [string(self.device), b"\x01\x01", secrets.token_bytes(32), login, string("conformance 1"), streams]
        return frame(HELLO, b"".join(fields) + varint(0))

    def login(self, secret):
        hello = self.hello(varint(0))
        self.transport.send(hello)
        _, payload, challenge = self.receive(CHALLENGE)
        r = Reader(payload)
        r.take(32)
        r.zigzag()
        assert r.u8() == 1, "the version chosen is 1"
        client_key = hmac256(secret, b"Pulsewire Client Key")
        stored_key = hashlib.sha256(client_key).digest()
        server_key = hmac256(secret, b"Pulsewire Server Key")
        transcript = hashlib.sha256(b"pulsewire-login-v1" + hello + challenge + b"plain").digest()
        signature = hmac256(stored_key, transcript)
        proof = frame(PROOF, bytes(a ^ b for a, b in zip(client_key, signature)))
        self.transport.send(proof)
        _, payload, _ = self.receive(WELCOME)
        expected = hmac256(server_key, transcript + proof + payload[32:])
        assert hmac.compare_digest(expected, payload[:32]), "the server proof is wrong"
        self.welcome(payload)

    def login_with_token(self, token):
        self.transport.send(self.hello(varint(1) + string(token)))
        _, payload, _ = self.receive(WELCOME)
        assert payload[:32] == bytes(32), "after a token login the server proof is 32 zero bytes"
        self.welcome(payload)

    def welcome(self, payload):
        r = Reader(payload)
        r.take(32)
        self.epoch, self.server_time_us = r.varint(), r.zigzag()
        self.heartbeat_ms, self.frame_max = r.varint(), r.varint()
        self.window_frames, self.window_bytes = r.varint(), r.varint()
        self.positions = dict(r.list(lambda: (r.varint(), r.varint())))
        self.twin = r.varint()

    def open_stream(self, request, kind=0):
        self.transport.send(frame(STREAM_OPEN, varint(request) + varint(kind)))
        _, payload, _ = self.receive(STREAM_ID)
        r = Reader(payload)
        assert r.varint() == request, "the request is repeated"
        return r.varint()

    def expect_ack(self, stream, sequence):
        """Waits until the stream is acknowledged up to here; answers the NACKs that came before."""
        nacks = []
        while True:
            kind, payload, _ = self.receive(ACK, NACK)
            r = Reader(payload)
            if kind == NACK:
                head = (r.varint(), r.varint())
                items = r.list(lambda: (r.varint(), r.varint(), r.varint()))
                nacks.append((head, items, r.varint(), r.string()))
                continue
            of, up_to = r.varint(), r.varint()
            assert of == stream and up_to <= sequence, f"ACK {of}/{up_to}, {stream}/{sequence} is wanted"
            if up_to == sequence:
                return nacks


def metric_set(number, metrics):
    return frame(METRIC_SET, bytes([number]) + sequence_of([string(n) + string(u) + varint(t) for n, u, t in metrics]))


def value(kind, v):
    if kind == F64:
        return struct.pack("<d", v)
    if kind == F32:
        return struct.pack("<f", v)
    if kind == I64:
        return zigzag(v)
    if kind == BOOL:
        return bytes([v])
    return string(v)


def telemetry(number, metrics, stream, sequence, rows, sparse=False, kind=TELEMETRY, long_form=False):
    """`rows` is a list of (time in µs, {index: value})."""
    number_of = (lambda v: b"\xfc" + v.to_bytes(4, "little")) if long_form else varint
    base = rows[0][0]
    out = bytes([number | (0x80 if sparse else 0)]) + number_of(stream) + varint(sequence)
    out += struct.pack("<q", base) + varint(len(rows))
    for at, (row_time, values) in enumerate(rows):
        if at > 0:
            out += zigzag(row_time - base)
        if sparse:
            present = bytearray((len(metrics) + 7) // 8)
            for index in values:
                present[index // 8] |= 1 << (index % 8)
            out += bytes(present)
        else:
            assert len(values) == len(metrics)
        out += b"".join(value(metrics[index][2], values[index]) for index in sorted(values))
    return frame(kind, out)


# --- a viewer, section 9 -------------------------------------------------------------------------------------------


class Viewer:
    def __init__(self, http, token):
        url = urllib.parse.urlsplit(http)
        self.socket = WebSocket((url.hostname, url.port), "/live", [f"Authorization: Bearer {token}"])
        assert self.socket.status == 101, f"/live answered {self.socket.status}"
        kind, payload, _ = self.socket.frame()
        assert kind == LIVE_WELCOME, "LIVE_WELCOME is the first frame"
        r = Reader(payload)
        self.epoch, self.position, self.time_us = r.varint(), r.varint(), r.zigzag()
        self.heartbeat_ms, self.subscriptions_max, self.interval_min = r.varint(), r.varint(), r.varint()
        self.series, self.last, self.samples, self.history, self.presence = {}, {}, [], [], []
        self.snapshots, self.refused, self.gaps = {}, [], []

    def subscribe(self, number, devices, metrics=(), interval_ms=50, history_ms=0, resume=None):
        wish = varint(number) + sequence_of([string(d) for d in devices]) + sequence_of([string(m) for m in metrics])
        wish += varint(interval_ms) + varint(0) + varint(history_ms)
        wish += b"\x00" if resume is None else b"\x01" + varint(resume[0]) + varint(resume[1])
        if resume:
            self.last[number] = resume[1]
        self.socket.send(frame(SUBSCRIBE, wish))

    def until(self, done):
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            assert time.monotonic() < deadline, f"not in {TIMEOUT_S} s; there is {self.samples} {self.presence}"
            self.read()

    def read(self):
        kind, payload, _ = self.socket.frame()
        r = Reader(payload)
        if kind == CLOSE:
            raise read_close(payload)
        if kind == HEARTBEAT:
            self.socket.send(frame(HEARTBEAT, zigzag(int(time.time() * 1e6)) + varint(0)))
        elif kind == SERIES_DEF:
            number = r.varint()
            for index, *rest in r.list(lambda: (r.varint(), r.string(), r.string(), r.string(), r.varint())):
                assert (number, index) not in self.series, "an index is defined once"
                self.series[number, index] = rest
        elif kind == BATCH:
            self.batch(payload)
        elif kind == TEXTS:
            number, position, previous, history = r.varint(), r.varint(), r.varint(), r.bool()
            self.advance(number, position, previous)
            for index, at, text in r.list(lambda: (r.varint(), r.zigzag(), r.string())):
                self.put(number, index, at, text, history)
        elif kind == SNAPSHOT_END:
            number, position, series = r.varint(), r.varint(), r.varint()
            assert series == sum(1 for n, _ in self.series if n == number), "SNAPSHOT_END counts the series"
            self.snapshots[number] = self.last[number] = position
        elif kind == PRESENCE:
            self.presence += r.list(lambda: (r.string(), r.varint(), r.zigzag()))
        elif kind == REFUSED:
            self.refused.append((r.varint(), r.varint(), r.string()))
        elif kind == GAP:
            number, start, end, reason = r.varint(), r.varint(), r.varint(), r.varint()
            self.gaps.append((number, start, end, reason))
            self.last[number] = end
        else:
            raise AssertionError(f"type {kind:#x} is not for a viewer")

    def batch(self, payload):
        number, count, position, previous, base, flags, zero = struct.unpack_from("<IIQQqII", payload)
        pad = lambda n: (n + 7) // 8 * 8
        offsets_at, values_at = 40 + pad(4 * count), 40 + 2 * pad(4 * count)
        assert zero == 0 and flags & ~3 == 0 and len(payload) == values_at + 8 * count, "the columns' sizes"
        for column in (40, offsets_at):
            assert not any(payload[column + 4 * count : column + pad(4 * count)]), "padding is zero"
        self.advance(number, position, previous)
        series = struct.unpack_from(f"<{count}I", payload, 40)
        offsets = struct.unpack_from(f"<{count}I", payload, offsets_at)
        values = struct.unpack_from(f"<{count}d", payload, values_at)
        for index, offset, v in zip(series, offsets, values):
            self.put(number, index, base + offset, v, flags & 1 == 1)

    def advance(self, number, position, previous):
        expected = self.last.get(number, 0)
        assert previous == expected, f"previous is {previous}, the last position was {expected}"
        assert position >= previous, f"position goes back from {previous} to {position}"
        self.last[number] = position

    def put(self, number, index, at, v, history):
        device, metric, _, _ = self.series[number, index]
        (self.history if history else self.samples).append((number, device, metric, at, v))


# --- the checks ----------------------------------------------------------------------------------------------------

METRICS = [("temp", "°C", F64), ("hum", "%", F32), ("count", "", I64), ("light", "", BOOL), ("note", "", TEXT)]


def bits(v):
    return struct.pack("<d", v) if isinstance(v, float) else v


def as_f32(v):
    return struct.unpack("<f", struct.pack("<f", v))[0]


def seen(samples):
    return sorted(((m, t, bits(v)) for _, _, m, t, v in samples), key=repr)


def live_form(rows):
    """What BATCH and TEXTS say about rows: numbers and bools as f64."""
    out = []
    for at, values in rows:
        for index, v in values.items():
            name, _, kind = METRICS[index]
            shown = v if kind == TEXT else as_f32(v) if kind == F32 else float(v)
            out.append((name, at, bits(shown)))
    return sorted(out, key=repr)


class Conformance:
    def __init__(self, http, device, api):
        host, _, port = device.rpartition(":")
        self.http, self.address, self.api = http, (host.strip("[]"), int(port)), api
        self.results, self.device = [], "conformance-" + secrets.token_hex(4)
        self.secret, self.rows, self.sequence = b"", [], {}

    def check(self, name, action):
        try:
            action()
            self.results.append({"check": name, "ok": True})
            print(f"ok    {name}", file=sys.stderr)
        except Exception as error:  # every failure is a result; the rest may still be worth knowing
            self.results.append({"check": name, "ok": False, "error": f"{type(error).__name__}: {error}"})
            print(f"FAIL  {name}: {type(error).__name__}: {error}", file=sys.stderr)
            traceback.print_exc()

    def connect(self, name):
        if name == "tcp":
            return Tcp(self.address)
        socket_ = WebSocket(self.address, "/device", ["Sec-WebSocket-Protocol: pulsewire.v1"])
        assert socket_.status == 101 and socket_.headers.get("sec-websocket-protocol") == "pulsewire.v1"
        return socket_

    def run(self):
        self.check("a device is created over HTTP", self.create)
        self.check("the live socket welcomes and answers a subscription with SNAPSHOT_END", self.subscribe)
        for name in ("tcp", "websocket"):
            self.check(f"{name}: login with proof, and the server proves itself", lambda n=name: self.login(n))
            self.check(f"{name}: a stream is opened", self.open_stream)
            self.check(f"{name}: dense and sparse reports of five types are acknowledged", self.report)
            self.check(f"{name}: the same samples arrive live with exact values", self.read_live)
            self.check(f"{name}: the history API has the same samples, bit for bit", self.read_history)
            self.check(f"{name}: a repeated report is acknowledged and not stored twice", self.repeat)
            self.check(f"{name}: a value of another class is rejected, the rest is stored", self.mismatch)
            self.check(f"{name}: SKIP is acknowledged like a report", self.skip)
            self.check(f"{name}: BACKFILL is stored and not shown live", self.backfill)
            self.check(f"{name}: PING is answered with its token", self.ping)
            self.check(f"{name}: unknown types, long varints and appended fields are taken", self.tolerance)
            self.check(f"{name}: a new session names the stream's position", lambda n=name: self.resume(n))
            self.check(f"{name}: a wrong secret closes with 4003", lambda n=name: self.wrong_secret(n))
        self.check("a token logs in over loopback, without CHALLENGE", self.token)
        self.check("a taken subscription number is refused and the socket stays open", self.refused)
        self.check("a second viewer resumes after a position", self.resume_live)
        self.check("presence is told", self.read_presence)
        return self.results

    def create(self):
        self.secret = bytes.fromhex(self.api.call("POST", "/api/v1/devices", {"id": self.device})["secret"])
        assert len(self.secret) == 32

    def subscribe(self):
        self.viewer = Viewer(self.http, self.api.token)
        assert self.viewer.heartbeat_ms > 0 and self.viewer.subscriptions_max > 0
        self.viewer.subscribe(1, [self.device])
        self.viewer.until(lambda: 1 in self.viewer.snapshots)

    def login(self, name):
        self.wire = Device(self.connect(name), self.device)
        self.wire.login(self.secret)
        assert self.wire.heartbeat_ms > 0 and self.wire.frame_max >= 4096 and self.wire.window_frames > 0
        assert self.wire.positions == {} and self.wire.twin == 0
        assert abs(self.wire.server_time_us - time.time() * 1e6) < 60e6, "the server's clock is this machine's"

    def open_stream(self):
        self.stream = self.wire.open_stream(77)
        assert self.stream >= 1
        self.next = 1

    def send(self, *frames):
        self.wire.transport.send(*frames)

    def report(self):
        start = int(time.time() * 1e6) - 1_000_000
        dense = [
            (start, {0: 0.1, 1: 0.1, 2: -5, 3: True, 4: "grün ✓"}),
            (start + 7, {0: float("nan"), 1: -0.0, 2: 2**53 - 1, 3: False, 4: ""}),
            # Rows need not be in order of time.
            (start - 1_000, {0: float("-inf"), 1: 3.4e38, 2: -(2**40), 3: True, 4: "x" * 300}),
        ]
        sparse = [(start + 100, {0: 5e-324, 3: True}), (start + 50, {4: "alone"}), (start + 200, {1: 1.5, 2: 0})]
        self.sent = [
            telemetry(3, METRICS, self.stream, 1, dense),
            telemetry(3, METRICS, self.stream, 2, sparse, sparse=True),
        ]
        self.send(metric_set(3, METRICS), *self.sent)
        assert self.wire.expect_ack(self.stream, 2) == []
        self.next = 3
        self.fresh = dense + sparse
        self.rows += self.fresh

    def read_live(self):
        wanted = live_form(self.fresh)
        self.viewer.until(lambda: len(self.viewer.samples) >= len(wanted))
        assert seen(self.viewer.samples) == wanted, f"{seen(self.viewer.samples)}\nis not\n{wanted}"
        self.viewer.samples.clear()

    def stored(self):
        return {name: self.api.history(self.device, name) for name, _, _ in METRICS}

    def read_history(self):
        stored = self.stored()
        for index, (name, _, kind) in enumerate(METRICS):
            wanted = []
            for at, values in sorted(self.rows, key=lambda row: row[0]):
                if index in values:
                    v = as_f32(values[index]) if kind == F32 else values[index]
                    if isinstance(v, float) and v != v:
                        v = "NaN"
                    elif v in (float("inf"), float("-inf")):
                        v = "Infinity" if v > 0 else "-Infinity"
                    wanted.append((at, v))
            found = stored[name]
            same = [(t, bits(v), type(v)) for t, v in found] == [(t, bits(v), type(v)) for t, v in wanted]
            assert same, f"{name}: {found} is not {wanted}"

    def accounting(self):
        return self.api.call("GET", f"/api/v1/devices/{self.device}")["accounting"]

    def repeat(self):
        before, counted = self.stored(), self.accounting()
        self.send(self.sent[0])
        self.wire.expect_ack(self.stream, 2)
        after = self.accounting()
        assert repr(self.stored()) == repr(before)
        assert after["duplicate"] == counted["duplicate"] + 1 and after["stored"] == counted["stored"]

    def mismatch(self):
        metrics = [("temp", "°C", TEXT), ("hum", "%", F32)]
        at = int(time.time() * 1e6)
        self.send(metric_set(4, metrics), telemetry(4, metrics, self.stream, self.next, [(at, {0: "warm", 1: 40.5})]))
        nacks = self.wire.expect_ack(self.stream, self.next)
        assert len(nacks) == 1, nacks
        head, items, total, text = nacks[0]
        assert head == (self.stream, self.next) and items == [(0, 0, 2)] and total == 1 and text, nacks
        self.rows.append((at, {1: 40.5}))
        self.fresh = [(at, {1: 40.5})]
        self.next += 1
        self.read_live()
        self.read_history()

    def skip(self):
        skip = varint(self.stream) + varint(self.next) + varint(self.next + 4) + varint(1) + string("spool full")
        before = self.accounting()["skipped"]
        self.send(frame(SKIP, skip))
        self.wire.expect_ack(self.stream, self.next + 4)
        assert self.accounting()["skipped"] == before + 5
        self.next += 5

    def backfill(self):
        backlog = self.wire.open_stream(78, 1)
        old = [(1_000_000 + len(self.rows), {0: 1.0, 1: 2.0, 2: 3, 3: False, 4: "old"})]
        now = [(int(time.time() * 1e6), {0: 9.0, 1: 9.0, 2: 9, 3: True, 4: "new"})]
        self.send(telemetry(3, METRICS, backlog, 1, old, kind=BACKFILL))
        self.wire.expect_ack(backlog, 1)
        self.send(telemetry(3, METRICS, self.stream, self.next, now))
        self.wire.expect_ack(self.stream, self.next)
        self.next += 1
        self.rows += old + now
        self.fresh = now
        self.read_live()
        self.read_history()

    def ping(self):
        self.send(frame(PING, varint(2**40)))
        _, payload, _ = self.wire.receive(PONG)
        assert Reader(payload).varint() == 2**40

    def tolerance(self):
        at = int(time.time() * 1e6)
        rows = [(at, {0: 1.25, 1: 0.5, 2: 251, 3: True, 4: "long"})]
        set_ = metric_set(3, METRICS)
        grown = frame(METRIC_SET, set_[8:] + b"\x01\x02\x03")
        report = telemetry(3, METRICS, self.stream, self.next, rows, long_form=True)
        self.send(frame(0x7F, b"what?"), grown, frame(TELEMETRY, report[8:] + b"more"))
        self.wire.expect_ack(self.stream, self.next)
        self.next += 1
        self.rows += rows
        self.fresh = rows
        self.read_live()
        self.read_history()

    def resume(self, name):
        unknown = self.stream + 1_000_000
        old, self.wire = self.wire, Device(self.connect(name), self.device, [self.stream, unknown])
        self.wire.login(self.secret)
        assert self.wire.epoch > old.epoch, "the session epoch grows"
        assert self.wire.positions == {self.stream: self.next - 1}, self.wire.positions
        try:
            old.receive()
            raise AssertionError("the older session goes on")
        except Closed as closed:
            assert closed.code == 4009 and not closed.reconnect and closed.text, closed
        self.send(frame(CLOSE, varint(1000) + string("done") + b"\x00" + varint(0)))
        try:
            self.wire.transport.frame()
            raise AssertionError("nothing follows a CLOSE")
        except Ended:
            pass

    def wrong_secret(self, name):
        words = set()
        for device in (self.device, "nobody-" + secrets.token_hex(4)):
            wire = Device(self.connect(name), device)
            try:
                wire.login(secrets.token_bytes(32))
                raise AssertionError("the login was accepted")
            except Closed as closed:
                assert closed.code == 4003 and not closed.reconnect, closed
                words.add(closed.text)
            try:
                wire.transport.frame()
                raise AssertionError("CLOSE is the last frame")
            except Ended:
                pass
            if name == "websocket":
                assert wire.transport.close_code == 4003, wire.transport.close_code
        assert len(words) == 1, "the words are the same for a device that does not exist"

    def token(self):
        token = self.api.call("POST", f"/api/v1/devices/{self.device}/token")["token"]
        wire = Device(Tcp(self.address), self.device)
        wire.login_with_token(token)
        assert wire.open_stream(1) > self.stream, "stream ids are never used again"
        wire.transport.close()

    def refused(self):
        self.viewer.subscribe(1, [self.device])
        self.viewer.until(lambda: self.viewer.refused)
        number, code, text = self.viewer.refused.pop()
        assert (number, code) == (1, 2) and text
        self.viewer.socket.send(frame(UNSUBSCRIBE, varint(999)))
        self.viewer.subscribe(2, [self.device], ["hum"])
        self.viewer.until(lambda: 2 in self.viewer.snapshots)

    def resume_live(self):
        first = Viewer(self.http, self.api.token)
        first.subscribe(5, [self.device])
        first.until(lambda: 5 in first.snapshots)
        position = first.snapshots[5]
        first.socket.close()
        wire = Device(Tcp(self.address), self.device)
        wire.login(self.secret)
        stream = wire.open_stream(1)
        at = int(time.time() * 1e6)
        rows = [(at, {0: 6.5, 1: 0.25, 2: 7, 3: True, 4: "missed"})]
        wire.transport.send(metric_set(0, METRICS), telemetry(0, METRICS, stream, 1, rows))
        wire.expect_ack(stream, 1)
        second = Viewer(self.http, self.api.token)
        assert second.epoch == first.epoch, "it is the same store"
        second.subscribe(5, [self.device], resume=(first.epoch, position))
        second.until(lambda: 5 in second.snapshots)
        assert second.gaps == [] and seen(second.history + second.samples) == live_form(rows), second.history
        wire.transport.close()

    def read_presence(self):
        # Changes that follow each other at once may be told as one, so each state is held until it is told.
        assert self.viewer.presence[0] == (self.device, 0, 0), "the first state is that of a device never seen"
        wire = Device(Tcp(self.address), self.device)
        wire.login(self.secret)
        self.viewer.until(lambda: self.viewer.presence[-1][1] == 1)
        wire.transport.close()
        self.viewer.until(lambda: self.viewer.presence[-1][1] == 0)
        assert all(d == self.device for d, _, _ in self.viewer.presence) and self.viewer.presence[-1][2] > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--http", required=True, help="http://ADDR:PORT of the API and of /live")
    parser.add_argument("--device", required=True, help="ADDR:PORT of the device port")
    parser.add_argument("--token", help="bearer token of an admin; else PULSEWIRE_PASSWORD is admin's password")
    arguments = parser.parse_args()
    api = Api(arguments.http, arguments.token)
    if not api.token:
        api.sign_in(os.environ["PULSEWIRE_PASSWORD"])
    results = Conformance(arguments.http, arguments.device, api).run()
    failed = [r for r in results if not r["ok"]]
    print(json.dumps({"ok": not failed, "passed": len(results) - len(failed), "failed": len(failed), "checks": results}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
