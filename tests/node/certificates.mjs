// Certificates for stand-ins, made by openssl: an authority of our own, and a server's certificate for 127.0.0.1.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder } from "./harness.mjs";

let made;

function openssl(...args) {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

/// `ca_file` is for the server that is to trust, `cert` and `key` for who listens.
export function certificates() {
  if (made) return made;
  const at = join(folder, "tls");
  mkdirSync(at, { recursive: true });
  const file = (name) => join(at, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    ...["req", "-x509", ...key, "-keyout", file("ca.key"), "-out", file("ca.pem"), "-days", "7"],
    ...["-subj", "/CN=Stand-ins of tests", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  );
  openssl("req", ...key, "-keyout", file("server.key"), "-out", file("server.csr"), "-subj", "/CN=127.0.0.1");
  const extensions = ["subjectAltName=IP:127.0.0.1", "basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth"];
  writeFileSync(file("server.ext"), extensions.join("\n"));
  openssl(
    ...["x509", "-req", "-in", file("server.csr"), "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-set_serial", "2"],
    ...["-days", "7", "-extfile", file("server.ext"), "-out", file("server.pem")],
  );
  made = { ca_file: file("ca.pem"), cert: readFileSync(file("server.pem")), key: readFileSync(file("server.key")) };
  return made;
}
