// Links before a port of this machine, for programs that are not in this process. usage: node proxy.js JSON, with port, seed, and
// links: [{delayMs, jitterMs}]. Prints their ports as JSON, and ends with its standard input.

import { Link } from './links.js';
import { Random } from './random.js';
import { RealTime } from './times.js';

const { port, seed, links } = JSON.parse(process.argv[2]);
const random = new Random(seed);
const ports = await Promise.all(links.map((spec) => new Link(new RealTime(), random, spec, port).open()));
process.stdout.write(JSON.stringify(ports) + '\n');
process.stdin.resume().on('end', () => process.exit(0));
