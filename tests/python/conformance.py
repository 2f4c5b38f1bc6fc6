#!/usr/bin/env python3
"""Speaks the Pulsewire protocol to a running server and checks every answer against SPEC.md.

Written from proto-spec/SPEC.md and docs/http-api.md alone, with the standard library only: it shares no code with the
server, so a mistake that encoder and decoder of the server have in common shows up here.

    PULSEWIRE_PASSWORD=... conformance.py --http http://127.0.0.1:8080 --device 127.0.0.1:7410

Prints one line per check on standard error and a JSON summary on standard output; exit status 0 means that all passed.
"""

import argparse
import json
import os
import secrets
import struct
import sys
import time
import traceback

from peers import Api, Closed, Device, Viewer, command_map, command_set, metric_set, read_command, telemetry, ulid
from wire import (
    BACKFILL, BOOL, CANCEL, CLOSE, COMMAND, COMMAND_SET, DELIVERED, F32, F64, I64, METRIC_SET, PING, PONG, PROGRESS, RESULT,
    RESULT_ACK, SKIP, TELEMETRY, TEXT, UNSUBSCRIBE, Ended, Reader, Tcp, WebSocket, frame, string, varint,
)

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
            self.check(f"{name}: a command goes to the device and its result comes back", self.command)
            self.check(f"{name}: a command is taken back before and after it is delivered", self.cancel)
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
        self.viewer.until(lambda: 1 in self.viewer.snapshots and self.viewer.presence)
        assert self.viewer.presence == [(self.device, 0, 0)], "a device that was never seen is offline"

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
        assert after["duplicate"] > counted["duplicate"] and after["stored"] == counted["stored"]
        assert after["received"] == after["stored"] + after["duplicate"] + after["rejected"] + after["dropped"]

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

    def give(self, body):
        return self.api.call("POST", f"/api/v1/devices/{self.device}/commands", body)

    def command_now(self, id_):
        return self.api.call("GET", f"/api/v1/commands/{id_}")

    def receive_command(self):
        _, payload, _ = self.wire.receive(COMMAND)
        return read_command(payload)

    def result(self, id_, status, code="", text="", values=None):
        payload = id_ + varint(status) + string(code) + string(text) + command_map(values or {})
        self.send(frame(RESULT, payload))
        _, payload, _ = self.wire.receive(RESULT_ACK)
        assert payload == id_, "RESULT_ACK repeats the id"

    def command(self):
        arguments = [("celsius", 2, True, -40.0, 10.0, "°C"), ("note", 3, False, None, None, ""), ("n", 1, False, None, None, "")]
        self.send(frame(COMMAND_SET, command_set({"set_target": arguments, "stop": []})))
        path = f"/api/v1/devices/{self.device}/command-set"
        deadline = time.monotonic() + 20
        while not (known := self.api.call("GET", path))["declared"]:
            assert time.monotonic() < deadline, "the command set is not stored"
        shown = [(c["name"], [(a["name"], a["type"], a["required"], a["min"], a["max"], a["unit"]) for a in c["arguments"]]) for c in known["commands"]]
        types = ["bool", "i64", "f64", "text"]
        assert shown == [("set_target", [(n, types[t], *rest) for n, t, *rest in arguments]), ("stop", [])], shown
        wanted = {"celsius": -22, "note": "grün ✓", "n": -7}
        given = self.give({"name": "set_target", "arguments": wanted, "ttl": "1h", "timeout": "45s"})
        assert given["state"] == "queued" and given["created_by"] == "admin", given
        got = self.receive_command()
        assert ulid(got["id"]) == given["id"], "the id is the ULID's bits"
        assert (got["name"], got["timeout_ms"], got["attempt"]) == ("set_target", 45_000, 1), got
        assert got["arguments"] == wanted and isinstance(got["arguments"]["celsius"], float), "declared as f64"
        assert abs(got["deadline_us"] - time.time() * 1e6 - 3600e6) < 60e6, got["deadline_us"]
        self.send(frame(DELIVERED, got["id"]), frame(PROGRESS, got["id"] + b"\x01" + bytes([50]) + string("half-way")))
        self.result(got["id"], 0, text="done", values={"celsius": -21.5, "steps": 3, "cold": True, "by": "me"})
        now = self.command_now(given["id"])
        assert now["state"] == "succeeded" and now["text"] == "done", now
        assert now["values"] == {"celsius": -21.5, "steps": 3, "cold": True, "by": "me"}, now["values"]
        assert [step["state"] for step in now["history"]] == ["queued", "sent", "delivered", "in_progress", "succeeded"]
        # The first result counts, and one that nobody asked for may be forgotten.
        self.result(got["id"], 1, code="jam")
        self.result(secrets.token_bytes(16), 1)
        assert self.command_now(given["id"]) == now, "a later result changes nothing"
        told = lambda: [c for c in self.viewer.commands if c[0] == given["id"]]
        self.viewer.until(lambda: told() and told()[-1][4] == 4)
        assert told()[-1][1:6] == (now["revision"], self.device, "set_target", 4, 1), told()

    def cancel(self):
        first, second = self.give({"name": "stop"}), self.give({"name": "stop"})
        got = self.receive_command()
        assert ulid(got["id"]) == first["id"], "in the order in which they were stored"
        # The second waits until the first is delivered.
        canceled = self.api.call("POST", f"/api/v1/commands/{second['id']}/cancel")
        assert canceled["state"] == "canceled", canceled
        asked = self.api.call("POST", f"/api/v1/commands/{first['id']}/cancel")
        assert asked["state"] == "sent" and asked["cancel_requested"], asked
        _, payload, _ = self.wire.receive(CANCEL)
        r = Reader(payload)
        assert r.take(16) == got["id"] and len(r.string().encode()) <= 256
        self.result(got["id"], 3, text="stopped")
        assert self.command_now(first["id"])["state"] == "canceled"

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
        # A snapshot may be a little old: what came between it and the end of the first socket comes as well, all of it once.
        got = seen(second.history + second.samples)
        assert second.gaps == [] and len(got) == len(set(got)), got
        assert all(one in got for one in live_form(rows)), got
        wire.transport.close()

    def read_presence(self):
        # Changes that follow each other at once may be told as one, so each state is held until it is told.
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
