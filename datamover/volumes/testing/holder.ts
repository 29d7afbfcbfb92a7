import { setInterval } from 'node:timers';
import { openDriver, type StorageOptions } from '../open-driver.ts';

/**
 * A process of its own that holds a volume, for tests that kill it: `holder.js URL OPTIONS`. It says `held` when it has it, and
 * then does nothing.
 */
const [url = '', options = '{}'] = process.argv.slice(2);
const { driver, location } = openDriver(url, JSON.parse(options) as StorageOptions);
const plan = await driver.planRead(await driver.identify(location), { bases: [] });
const { held } = await driver.hold(plan);
await held;
console.log('held');
setInterval(() => undefined, 60_000);
