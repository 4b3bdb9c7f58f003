// The devices and links of viewers, decided by a seed.

const CLOCK_MS = 30_000;
const PPM = 200;

/*
 * Return `count` specifications of viewers: startMs, seekMs, ppm, clockMs (see SimulatedPlayer and Crowd), link: {delayMs, jitterMs}.
 * jitterMs: the jitter of the worst link.
 */
export function viewersOf(random, count, jitterMs) {
  return Array.from({ length: count }, () => {
    const delayMs = random.evenByFactor(1, 150);
    return {
      startMs: random.evenByFactor(20, 300),
      seekMs: random.evenByFactor(50, 2000),
      ppm: random.between(-PPM, PPM),
      clockMs: random.between(-CLOCK_MS, CLOCK_MS),
      link: { delayMs, jitterMs: Math.min(delayMs, jitterMs * random.next()) },
    };
  });
}
