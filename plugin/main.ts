import { actions, offeredActions } from './actions/table.ts';
import { runPlugin } from './run.ts';

runPlugin(actions, offeredActions);
