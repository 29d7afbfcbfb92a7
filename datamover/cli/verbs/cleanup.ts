import { volumeForms } from '../../volumes/open-driver.ts';
import { addStorageOptions, openStorage, type StorageFlags } from '../storage-options.ts';
import { count } from '../units.ts';
import type { Verb } from '../verb.ts';

const EXAMPLES = `
Examples:
  datamover cleanup zfs:tank/db
  datamover cleanup rbd:rbd/db --ceph-id backup

Every backup does this for its own volume before it begins. What a transfer that lives still uses stays; no repository is needed.`;

export const verb: Verb = {
  configure(command, run) {
    addStorageOptions(command)
      .description(
        'Takes away what killed transfers left on volumes: holds, and images and copies made for reading.',
      )
      .argument('<volume...>', volumeForms())
      .addHelpText('after', EXAMPLES)
      .action((volumes: string[], flags: StorageFlags) =>
        run(async ({ output, interrupt, env }) => {
          const opened = volumes.map((url) => openStorage('clean up', url, flags, env));
          const removed: string[] = [];
          const left: string[] = [];
          try {
            for (const { driver, location } of opened) {
              for (const line of await driver.cleanUp(location, interrupt.signal)) {
                output.data(line);
                removed.push(line);
              }
              for (const line of (await driver.left?.(location, interrupt.signal)) ?? []) {
                output.note(line);
                left.push(line);
              }
            }
          } finally {
            await Promise.all(opened.map(({ driver }) => driver.close()));
          }
          output.say(count(removed.length, 'thing', 'things') + ' taken away');
          output.record({ message_type: 'summary', removed, left });
        }),
      );
  },
};
