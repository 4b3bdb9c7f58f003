// The signed token that a link brings, `#token=...`: where it leads, and who its bearer is. Whether it is good,
// only the server can tell.

function claimsOf(token) {
  try {
    const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (letter) => letter.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) ?? {};
  } catch {
    return {};
  }
}

const word = (value) => (typeof value === 'string' ? value : '');

/*
 * roomId, userId: '' if the token cannot be read. name: '' leaves it to the person. hosts: whether its bearer may become
 * host by joining. expiresAt: ms since 1970.
 */
export class Ticket {
  constructor(token) {
    const { room, sub, name, role, exp } = claimsOf(token);
    this.token = token;
    this.roomId = word(room);
    this.userId = word(sub);
    this.name = word(name);
    this.hosts = role === 'host';
    this.expiresAt = typeof exp === 'number' ? exp * 1000 : Infinity;
  }

  get readable() {
    return Boolean(this.roomId && this.userId);
  }
}

// Return the token in an address's fragment, or ''.
export function tokenIn(hash) {
  return new URLSearchParams(hash.slice(1)).get('token') ?? '';
}
