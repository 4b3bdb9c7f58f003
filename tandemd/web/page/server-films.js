// The lists of films that the server has.

import { serverUrl } from './server-url.js';

/*
 * Return the list of a directory of the server, or of a search.
 * token: a member's, '' for none: the server may require it. Rejected with an Error that has the HTTP status.
 */
export async function listVideos({ directory = '', search = '', token = '' }) {
  const query = search ? `?search=${encodeURIComponent(search)}` : '';
  const path = directory && !search ? `${directory.split('/').map(encodeURIComponent).join('/')}/` : '';
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(serverUrl(`videos/${path}${query}`), { headers });
  if (!answer.ok) throw Object.assign(new Error(`HTTP ${answer.status}`), { status: answer.status });
  return answer.json();
}
