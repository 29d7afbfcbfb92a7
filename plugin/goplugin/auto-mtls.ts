import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { ServerCredentials } from '@grpc/grpc-js';
import { bits, der, integer, octets, oid, sequence, set, time, truth, utf8 } from './der.ts';

/** Lives as long as the process; the clocks of host and plugin are the same. */
const DAY_MS = 24 * 60 * 60_000;

export interface ServerIdentity {
  readonly credentials: ServerCredentials;
  /** The handshake line's sixth field: the certificate's DER in base64 without padding. */
  readonly certificate: string;
}

/**
 * go-plugin's AutoMTLS (docs/internals.md): the host shows a certificate of its own making, whose PEM is in PLUGIN_CLIENT_CERT, and trusts the
 * one in the handshake line alone, under the name `localhost`. Velero does not use it.
 */
export function autoMtls(clientCertificate: string): ServerIdentity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = selfSigned(privateKey, publicKey);
  const pem = `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`;
  const pair = {
    cert_chain: Buffer.from(pem),
    private_key: Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' })),
  };
  return {
    credentials: ServerCredentials.createSsl(Buffer.from(clientCertificate), [pair], true),
    certificate: certificate.toString('base64').replace(/=+$/, ''),
  };
}

/** An X.509 certificate (RFC 5280) for `localhost` that is its own authority. */
function selfSigned(privateKey: KeyObject, publicKey: KeyObject): Buffer {
  const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
  const commonName = sequence(set(sequence(oid('2.5.4.3'), utf8('localhost'))));
  const basicConstraints = sequence(oid('2.5.29.19'), truth(), octets(sequence(truth())));
  // digitalSignature, keyEncipherment, keyAgreement, keyCertSign: bits 0, 2, 4 and 5.
  const keyUsage = sequence(oid('2.5.29.15'), truth(), octets(bits(Buffer.from([0b10101100]), 2)));
  const serverAndClient = sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'));
  const extendedKeyUsage = sequence(oid('2.5.29.37'), octets(serverAndClient));
  const dnsName = der(0x82, Buffer.from('localhost'));
  const subjectAltName = sequence(oid('2.5.29.17'), octets(sequence(dnsName)));
  const now = Date.now();
  const content = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ecdsaWithSha256,
    commonName,
    sequence(time(new Date(now - DAY_MS)), time(new Date(now + 365 * DAY_MS))),
    commonName,
    publicKey.export({ format: 'der', type: 'spki' }),
    der(0xa3, sequence(basicConstraints, keyUsage, extendedKeyUsage, subjectAltName)),
  );
  return sequence(content, ecdsaWithSha256, bits(sign('sha256', content, privateKey)));
}
