import { describe, test } from '@jest/globals';
import { findPeer, type Peer, type PeerName } from './peers.ts';

/** Whether a missing prerequisite is a failure (in CI) and not a counted skip. */
export function isCi(): boolean {
  return process.env['CI'] === 'true';
}

/**
 * A `describe` that needs peers. One that is missing fails in CI; elsewhere the tests are skipped, with the reason in their
 * names, and reporter.ts counts and prints them. `body` is called when tests are collected, so it must not run a peer
 * outside of tests and hooks.
 */
export function describePeers<Names extends readonly PeerName[]>(
  names: Names,
  title: string,
  body: (...peers: { [K in keyof Names]: Peer }) => void,
): void {
  const found = names.map((name) => ({ name, peer: findPeer(name) }));
  const reasons = found.flatMap(({ name, peer }) => ('missing' in peer ? [`${name} ${peer.missing}`] : []));
  if (reasons.length > 0 && isCi()) {
    describe(title, () => {
      test(`has ${names.join(', ')}`, () => {
        throw new Error(reasons.join('; '));
      });
    });
    return;
  }
  const peers = found.map(({ name, peer }) => ('missing' in peer ? { name, file: name, version: '' } : peer));
  const collect = (): void => body(...(peers as { [K in keyof Names]: Peer }));
  if (reasons.length > 0) describe.skip(`${title} [needs ${reasons.join('; ')}]`, collect);
  else describe(title, collect);
}

/** `describePeers` for one. */
export function describePeer(name: PeerName, title: string, body: (peer: Peer) => void): void {
  describePeers([name], title, body);
}
