#!/usr/bin/env python3
"""A device with one metric, `temp`, which another program drives: for each line `TIME_US VALUE` on standard input one report
is sent, and `ok` printed once the server has it on disk. Standard library only."""

import argparse
import os
import select
import sys

from peers import F64, Device, metric_set, telemetry
from wire import PING, PONG, Tcp, frame, varint

# A server whose clock runs fast hears of an idle device often enough.
IDLE_S = 1.0


def lines(device):
    """Lines of standard input, which come one at a time; meanwhile the device shows that it lives."""
    while True:
        while not select.select([sys.stdin], [], [], IDLE_S)[0]:
            device.transport.send(frame(PING, varint(1)))
            device.receive(PONG)
        line = sys.stdin.readline()
        if not line:
            return
        yield line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", required=True, help="ADDR:PORT of the device port")
    parser.add_argument("--id", required=True, help="the device; its secret is in PULSEWIRE_DEVICE_SECRET, 64 hex digits")
    arguments = parser.parse_args()
    host, _, port = arguments.device.rpartition(":")
    device = Device(Tcp((host, int(port))), arguments.id)
    device.login(bytes.fromhex(os.environ["PULSEWIRE_DEVICE_SECRET"]))
    stream = device.open_stream(1)
    metrics = [("temp", "°C", F64)]
    device.transport.send(metric_set(0, metrics))
    print("ready", flush=True)
    for sequence, line in enumerate(lines(device), start=1):
        time_us, value = line.split()
        device.transport.send(telemetry(0, metrics, stream, sequence, [(int(time_us), {0: float(value)})]))
        nacks = device.expect_ack(stream, sequence)
        print(f"refused {nacks}" if nacks else "ok", flush=True)


if __name__ == "__main__":
    main()
