#!/usr/bin/env python3
"""Opens Web Push bodies with http_ece and checks VAPID headers with py-vapid. Each line of standard input is JSON: `body`,
`private` and `auth` of the browser in base64url, the header `authorization`. Answers a line each: `text` (null if the body cannot
be opened), `signed`, `subject` (whether the claim `sub` is one), `claims`. Needs push_requirements.txt."""

import base64
import json
import sys

import http_ece
import py_vapid
from cryptography.hazmat.primitives.asymmetric import ec


def data(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def opened(body, private, auth):
    key = ec.derive_private_key(int.from_bytes(data(private), "big"), ec.SECP256R1())
    try:
        return http_ece.decrypt(data(body), private_key=key, auth_secret=data(auth), version="aes128gcm").decode()
    except http_ece.ECEException:
        return None


def judged(authorization):
    # Parameters may have a space between them (RFC 9110 section 11.4); py-vapid takes them without one.
    signed = py_vapid.Vapid02.verify(authorization.replace(", ", ","))
    token = authorization.split("t=", 1)[1].split(",", 1)[0]
    claims = json.loads(data(token.split(".")[1]))
    return {"signed": signed, "subject": bool(py_vapid._check_sub(claims.get("sub", ""))), "claims": claims}


def main():
    for line in sys.stdin:
        one = json.loads(line)
        text = opened(one["body"], one["private"], one["auth"])
        print(json.dumps({"text": text, **judged(one["authorization"])}), flush=True)


if __name__ == "__main__":
    main()
