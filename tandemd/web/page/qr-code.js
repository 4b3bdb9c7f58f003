// QR codes (ISO/IEC 18004) of short texts: bytes, error correction level M, versions 1 to 10.

const SVG = 'http://www.w3.org/2000/svg';
const QUIET = 4;
// By version: codewords of error correction in each block, number of blocks, codewords of data in all blocks.
const BLOCKS = [
  [10, 1, 16], [16, 1, 28], [26, 1, 44], [18, 2, 64], [24, 2, 86],
  [16, 4, 108], [18, 4, 124], [22, 4, 154], [22, 5, 182], [26, 5, 216],
];
const MASKS = [
  (x, y) => (x + y) % 2,
  (x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

// The field of 256 elements: powers of 2, and their logarithms.
const POWERS = [];
const LOGARITHMS = [];
for (let i = 0, power = 1; i < 255; i += 1) {
  POWERS[i] = power;
  LOGARITHMS[power] = i;
  power = (power << 1) ^ (power & 128 ? 0x11d : 0);
}
const product = (a, b) => (a && b ? POWERS[(LOGARITHMS[a] + LOGARITHMS[b]) % 255] : 0);

// Return the codewords of error correction for a block of data.
function correction(data, count) {
  let generator = [1];
  for (let i = 0; i < count; i += 1) {
    const next = [...generator, 0];
    generator.forEach((factor, at) => (next[at + 1] ^= product(factor, POWERS[i])));
    generator = next;
  }
  const rest = [...data, ...new Array(count).fill(0)];
  for (let at = 0; at < data.length; at += 1) {
    const factor = rest[at];
    generator.forEach((one, i) => (rest[at + i] ^= product(one, factor)));
  }
  return rest.slice(data.length);
}

// Return a number and its remainder by a binary polynomial, which has `bits` bits.
function withRemainder(number, polynomial, bits) {
  let rest = number << bits;
  for (let bit = 31 - Math.clz32(rest); bit >= bits; bit -= 1) if (rest & (1 << bit)) rest ^= polynomial << (bit - bits);
  return (number << bits) | rest;
}

// Return the codewords of a text, in the order in which the code shows them, and the version.
function codewords(text) {
  const bytes = new TextEncoder().encode(text);
  const version = BLOCKS.findIndex(([, , size], at) => bytes.length + (at < 9 ? 2 : 3) <= size) + 1;
  if (!version) throw new RangeError('The text is too long for a QR code.');
  const [extra, blocks, size] = BLOCKS[version - 1];
  const length = version < 10 ? [bytes.length] : [bytes.length >> 8, bytes.length & 255];
  // The mode, 4 bits, shifts all that follows by half a byte.
  const halves = [4, ...[...length, ...bytes].flatMap((byte) => [byte >> 4, byte & 15]), 0];
  const data = [];
  for (let at = 0; at < halves.length; at += 2) data.push((halves[at] << 4) | halves[at + 1]);
  for (let pad = 0xec; data.length < size; pad ^= 0xec ^ 0x11) data.push(pad);
  const short = Math.floor(size / blocks);
  const parts = [];
  for (let block = 0, from = 0; block < blocks; block += 1) {
    const to = from + short + (block >= blocks - (size % blocks) ? 1 : 0);
    parts.push(data.slice(from, to));
    from = to;
  }
  const corrections = parts.map((part) => correction(part, extra));
  const across = (rows, width) => Array.from({ length: width }, (_, at) => rows.map((row) => row[at])).flat();
  return { version, words: [...across(parts, short + 1).filter((word) => word !== undefined), ...across(corrections, extra)] };
}

// Return the modules that are the same for all texts of a version; undefined is free for data.
function frame(version) {
  const size = 17 + 4 * version;
  const rows = Array.from({ length: size }, () => new Array(size));
  const square = (x, y, radius, isDark) => {
    for (let dy = -radius; dy <= radius; dy += 1) {
      for (let dx = -radius; dx <= radius; dx += 1) {
        if (rows[y + dy] && x + dx >= 0 && x + dx < size) rows[y + dy][x + dx] = isDark(Math.max(Math.abs(dx), Math.abs(dy)));
      }
    }
  };
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, (ring) => ring !== 2 && ring !== 4);
  const ends = version < 2 ? [] : version < 7 ? [6, size - 7] : [6, (size - 1) / 2, size - 7];
  for (const x of ends) for (const y of ends) if (rows[y][x] === undefined) square(x, y, 2, (ring) => ring !== 1);
  for (let i = 8; i < size - 8; i += 1) rows[6][i] = rows[i][6] = i % 2 === 0;
  if (version >= 7) {
    const bits = withRemainder(version, 0x1f25, 12);
    for (let i = 0; i < 18; i += 1) {
      const [near, far] = [Math.floor(i / 3), size - 11 + (i % 3)];
      rows[near][far] = rows[far][near] = Boolean(bits & (1 << i));
    }
  }
  describe(rows, 0);
  return rows;
}

// Write the level and the mask beside the corners.
function describe(rows, mask) {
  const size = rows.length;
  const bits = withRemainder(mask, 0x537, 10) ^ 0x5412;
  for (let i = 0; i < 15; i += 1) {
    const dark = Boolean(bits & (1 << i));
    rows[i < 6 ? i : i < 8 ? i + 1 : size - 15 + i][8] = dark;
    rows[8][i < 8 ? size - 1 - i : i < 9 ? 7 : 14 - i] = dark;
  }
  rows[size - 8][8] = true;
}

// Fill the free modules with the bits of the words, from the lower right corner in columns of two.
function fill(rows, words, mask) {
  const size = rows.length;
  let at = 0;
  for (let right = size - 1; right > 0; right -= right === 8 ? 3 : 2) {
    const up = ((right + 1) & 2) === 0;
    for (let i = 0; i < size; i += 1) {
      const y = up ? size - 1 - i : i;
      for (const x of [right, right - 1]) {
        if (rows[y][x] !== undefined) continue;
        const bit = (words[at >> 3] >> (7 - (at & 7))) & 1;
        at += 1;
        rows[y][x] = Boolean(bit) !== (mask(x, y) === 0);
      }
    }
  }
}

// Return how hard a code is to read.
function penalty(rows) {
  const lines = [...rows, ...rows.map((_, x) => rows.map((row) => row[x]))].map((line) => line.map(Number).join(''));
  let points = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) points += run.length - 2;
    points += 40 * [...line.matchAll(/(?=00001011101|10111010000)/g)].length;
  }
  for (let y = 1; y < rows.length; y += 1) {
    for (let x = 1; x < rows.length; x += 1) {
      const dark = rows[y][x];
      if (dark === rows[y - 1][x] && dark === rows[y][x - 1] && dark === rows[y - 1][x - 1]) points += 3;
    }
  }
  const share = rows.flat().filter(Boolean).length / rows.length ** 2;
  return points + 10 * Math.floor(Math.abs(share - 0.5) * 20);
}

// Return the code of a text as rows of booleans, true for dark. Throws a RangeError for more than 213 bytes.
export function qrRows(text) {
  const { version, words } = codewords(text);
  const codes = MASKS.map((mask, number) => {
    const rows = frame(version);
    fill(rows, words, mask);
    describe(rows, number);
    return rows;
  });
  return codes.reduce((best, rows) => (penalty(rows) < penalty(best) ? rows : best));
}

// Return the code of a text as a picture. label: for screen readers.
export function qrCode(text, label) {
  const rows = qrRows(text);
  const [svg, ground, dark] = ['svg', 'rect', 'path'].map((tag) => document.createElementNS(SVG, tag));
  const size = rows.length + 2 * QUIET;
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  for (const side of ['width', 'height']) ground.setAttribute(side, size);
  ground.setAttribute('fill', '#fff');
  const squares = rows.flatMap((row, y) => row.map((is, x) => (is ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : '')));
  dark.setAttribute('d', squares.join(''));
  svg.append(ground, dark);
  return svg;
}
