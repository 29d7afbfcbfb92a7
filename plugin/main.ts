import { actions } from './actions/table.ts';
import { runPlugin } from './run.ts';

runPlugin(actions);
