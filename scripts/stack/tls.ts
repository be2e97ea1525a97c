// A certificate authority of this machine's own, so that wss can be run and tested locally.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as tls from "node:tls";
import forge from "node-forge";
import { makePrivateDir, writePrivateFile } from "./files.ts";
import { LOOPBACK } from "./ports.ts";

/** Paths of PEM files. `caFile` is what a client must trust (`NODE_EXTRA_CA_CERTS`, also for workerd). */
export interface TlsFiles {
  caFile: string;
  certFile: string;
  keyFile: string;
}

const RSA_BITS = 2048;
const CERTIFICATE_LIFETIME_MS = 365 * 24 * 3_600_000;
/** Certificates made for less than this are made anew, so that no run sees one expire. */
const MIN_REMAINING_LIFETIME_MS = 30 * 24 * 3_600_000;
/** Certificates start in the past: clocks of a machine and its containers may differ. */
const CLOCK_SKEW_MS = 3_600_000;

/** Makes, or finds in `dir`, an authority and a certificate for localhost and 127.0.0.1 signed by it. */
export function ensureTlsFiles(dir: string): TlsFiles {
  makePrivateDir(dir);
  const files = {
    caFile: join(dir, "ca.pem"),
    certFile: join(dir, "server.pem"),
    keyFile: join(dir, "server-key.pem"),
  };
  if (isUsable(files)) return files;

  const authority = makeCertificate("Local development CA", [
    { name: "basicConstraints", cA: true, critical: true },
    { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    { name: "subjectKeyIdentifier" },
  ]);
  const server = makeCertificate(
    "localhost",
    [
      { name: "basicConstraints", cA: false },
      { name: "keyUsage", digitalSignature: true, keyEncipherment: true },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: SAN_DNS, value: "localhost" },
          { type: SAN_IP, ip: LOOPBACK },
        ],
      },
    ],
    authority,
  );
  // The authority's key is dropped here: it can sign nothing more.
  writePrivateFile(files.keyFile, forge.pki.privateKeyToPem(server.key));
  writePrivateFile(files.certFile, forge.pki.certificateToPem(server.certificate));
  writePrivateFile(files.caFile, forge.pki.certificateToPem(authority.certificate));
  return files;
}

/**
 * Makes this Node process trust the authority besides the usual ones, for WebSocket and fetch too.
 * `NODE_EXTRA_CA_CERTS` does the same, but only when set before the process starts.
 */
export function trustAuthority(caFile: string): void {
  if (typeof tls.setDefaultCACertificates !== "function") {
    throw new Error(
      "this Node cannot trust a local CA at run time: use Node 24.5 or later, or set NODE_EXTRA_CA_CERTS",
    );
  }
  tls.setDefaultCACertificates([...tls.getCACertificates("default"), readFileSync(caFile, "utf8")]);
}

// GeneralName tags of RFC 5280, 4.2.1.6.
const SAN_DNS = 2;
const SAN_IP = 7;

interface Issued {
  certificate: forge.pki.Certificate;
  key: forge.pki.rsa.PrivateKey;
}

function makeCertificate(commonName: string, extensions: object[], issuer?: Issued): Issued {
  const pair = forge.pki.rsa.generateKeyPair(RSA_BITS);
  const certificate = forge.pki.createCertificate();
  const subject = [{ name: "commonName", value: commonName }];
  certificate.publicKey = pair.publicKey;
  certificate.serialNumber = `00${forge.util.bytesToHex(forge.random.getBytesSync(16))}`; // 00: positive
  certificate.validity.notBefore = new Date(Date.now() - CLOCK_SKEW_MS);
  certificate.validity.notAfter = new Date(Date.now() + CERTIFICATE_LIFETIME_MS);
  certificate.setSubject(subject);
  certificate.setIssuer(issuer ? issuer.certificate.subject.attributes : subject);
  certificate.setExtensions(extensions);
  certificate.sign(issuer ? issuer.key : pair.privateKey, forge.md.sha256.create());
  return { certificate, key: pair.privateKey };
}

function isUsable(files: TlsFiles): boolean {
  if (!existsSync(files.caFile) || !existsSync(files.certFile) || !existsSync(files.keyFile)) return false;
  const certificate = forge.pki.certificateFromPem(readFileSync(files.certFile, "utf8"));
  return certificate.validity.notAfter.getTime() > Date.now() + MIN_REMAINING_LIFETIME_MS;
}
