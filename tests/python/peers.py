"""A client of the HTTP API, a device (SPEC.md sections 4 to 6) and a viewer (section 9)."""

import hashlib
import hmac
import json
import secrets
import struct
import time
import urllib.error
import urllib.parse
import urllib.request

from wire import (
    ACK, ALERT, BATCH, BOOL, CHALLENGE, CLOSE, COMMAND, COMMAND_STATE, F32, F64, GAP, HEARTBEAT, HELLO, I64, LIVE_WELCOME, METRIC_SET, NACK,
    PING, PONG, PRESENCE, PROOF, REFUSED, SERIES_DEF, SNAPSHOT_END, STREAM_ID, STREAM_OPEN, SUBSCRIBE, TELEMETRY, TEXTS,
    TIMEOUT_S, WELCOME, Reader, WebSocket, frame, sequence_of, string, varint, zigzag,
)


# --- the HTTP API


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


# --- a device, sections 4 to 6


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


# --- commands, section 7


def command_value(v):
    if isinstance(v, bool):
        return varint(0) + bytes([v])
    if isinstance(v, int):
        return varint(1) + zigzag(v)
    if isinstance(v, float):
        return varint(2) + struct.pack("<d", v)
    return varint(3) + string(v)


def command_map(values):
    return sequence_of([string(name) + command_value(v) for name, v in values.items()])


def read_map(r):
    readers = [r.bool, r.zigzag, r.f64, r.string]
    return dict(r.list(lambda: (r.string(), readers[r.varint()]())))


def command_set(commands):
    """`commands` is {name: [(argument, type, required, min, max, unit)]}."""

    def bound(v):
        return b"\x00" if v is None else b"\x01" + struct.pack("<d", v)

    def argument(name, kind, required, low, high, unit):
        return string(name) + varint(kind) + bytes([required]) + bound(low) + bound(high) + string(unit)

    return sequence_of([string(n) + string("") + sequence_of([argument(*a) for a in args]) for n, args in commands.items()])


def read_command(payload):
    r = Reader(payload)
    fields = {"id": r.take(16), "name": r.string(), "arguments": read_map(r)}
    return fields | {"deadline_us": r.zigzag(), "timeout_ms": r.varint(), "attempt": r.varint()}


def ulid(bits):
    number = int.from_bytes(bits, "big")
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * i & 31] for i in reversed(range(26)))


# --- a viewer, section 9


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
        self.snapshots, self.refused, self.gaps, self.commands = {}, [], [], []

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
        elif kind == COMMAND_STATE:
            for _ in range(r.varint()):
                bits, revision, device, name = r.take(16), r.varint(), r.string(), r.string()
                state, attempt, percent = r.varint(), r.varint(), r.optional(r.u8)
                r.string(), r.string(), r.zigzag(), r.bool()
                self.commands.append((ulid(bits), revision, device, name, state, attempt, percent))
        elif kind == ALERT:
            pass
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
        assert zero == 0 and flags & ~0x1F == 0, "flags that the specification names"
        at = 40

        def column(form, length):
            nonlocal at
            size = struct.calcsize(f"<{length}{form}")
            values = struct.unpack_from(f"<{length}{form}", payload, at)
            end = at + (size + 7) // 8 * 8
            assert end <= len(payload) and not any(payload[at + size : end]), "padding is zero"
            at = end
            return values

        series = column("H" if flags & 4 else "I", count)
        if flags & 8:
            (runs,) = column("I", 1)
            starts, lengths = column("I", runs), column("I", runs)
            assert all(lengths) and sum(lengths) == count, "runs of times hold all samples"
            offsets = [start for start, length in zip(starts, lengths) for _ in range(length)]
        else:
            offsets = column("I", count)
        values = column("f" if flags & 16 else "d", count)
        assert at == len(payload), "nothing follows the columns"
        self.advance(number, position, previous)
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
