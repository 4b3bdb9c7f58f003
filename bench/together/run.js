// Play the scenario. usage: node run.js JSON, with port, seed, models (whether to play it with the models, too), and the options
// of Scenario. Prints JSON: the figures by the name of the crowd, and `late`.

import { monitorEventLoopDelay } from 'node:perf_hooks';

import { Crowd } from './crowd.js';
import { MODELS } from './models.js';
import { Random } from './random.js';
import { Scenario } from './scenario.js';
import { RealTime, SimulatedTime } from './times.js';

const { port, models, seed, ...options } = JSON.parse(process.argv[2]);

// Who the viewers are and what happens to them is the same for each crowd.
const play = (time, crowd) => new Scenario(time, new Random(seed), crowd, options).run();

const [time, turns] = [new RealTime(), monitorEventLoopDelay({ resolution: 1 })];
turns.enable();
const crowd = new Crowd(time, new Random(seed + 1), port, `together-${seed}-${process.pid}`);
const figures = { tandemd: await play(time, crowd) };
turns.disable();
for (const [name, Model] of models ? Object.entries(MODELS) : []) {
  const simulated = new SimulatedTime();
  figures[name] = await play(simulated, new Model(name, simulated, new Random(seed + 1)));
}
// By how many ms the process of the viewers was late, in the worst of a hundred turns.
const late = Math.round(turns.percentile(99) / 1e5) / 10;
process.stdout.write(JSON.stringify({ figures, late }) + '\n', () => process.exit(0));
