"use strict";
// Where data comes from: the server, or what is inside the page. Both offer the same functions; all are asynchronous.
globalThis.nearkin = {};
(function (N) {
  const bytes = text => { const raw = atob(text), out = new Uint8Array(raw.length); for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i); return out.buffer; };
  const floats = text => new Float32Array(bytes(text));
  const pairs = (rows, distances, row, k) => Array.from({ length: k }, (_, j) => [rows[row * k + j], distances[row * k + j]]);

  function server() {
    const token = new URLSearchParams(location.search).get("token") || "";
    async function ask(path, options = {}) {
      let reply;
      try {
        reply = await fetch("api/" + path, { ...options, headers: { "X-Nearkin-Token": token }, credentials: "omit" });
      } catch {
        throw new Error("the server does not answer; was it stopped?");
      }
      if (!reply.ok) throw new Error((await reply.text()).slice(0, 400));
      return reply;
    }
    const json = async (path, options) => (await ask(path, options)).json();
    const url = async path => URL.createObjectURL(await (await ask(path)).blob());
    return {
      isStatic: false,
      meta: () => json("meta"),
      column: async i => new Float32Array(await (await ask(`column/${i}`)).arrayBuffer()),
      map: async (s, kind) => { const m = await json(`map/${s}/${encodeURIComponent(kind)}`); return { note: m.note, coords: floats(m.coords) }; },
      score: async (s, name) => { const c = await json(`score/${s}/${encodeURIComponent(name)}`); return { groups: c.groups, values: floats(c.values) }; },
      neighbours: (s, row) => json(`neighbours/${s}/${row}?near=10&far=4`),
      sheet: i => url(`sheet/${i}`),
      picture: row => url(`picture/${row}`),
      search: (s, file) => json(`search/${s}?near=10&far=4`, { method: "POST", body: file }),
    };
  }

  function inside(element) {
    const D = JSON.parse(element.textContent), cache = new Map();
    const opened = s => {
      if (!cache.has(s)) {
        const p = D.spaces[s];
        cache.set(s, { near: new Uint16Array(bytes(p.near)), far: new Uint16Array(bytes(p.far)), nd: floats(p.near_distance), fd: floats(p.far_distance), k: p.k });
      }
      return cache.get(s);
    };
    const absent = what => { throw new Error(`${what} needs the server: nearkin explore without --export.`); };
    return {
      isStatic: true,
      meta: async () => D.meta,
      column: async i => floats(D.columns[i]),
      map: async (s, kind) => { const m = D.spaces[s].maps[kind]; return m ? { note: m.note, coords: floats(m.coords) } : absent("computing this map"); },
      score: async (s, name) => { const c = D.spaces[s].scores[name]; return c ? { groups: c.groups, values: floats(c.values) } : absent("this score"); },
      neighbours: async (s, row) => { const o = opened(s); return { near: pairs(o.near, o.nd, row, o.k[0]), far: pairs(o.far, o.fd, row, o.k[1]).slice(0, 4) }; },
      sheet: async i => "data:image/webp;base64," + D.sheets[i],
      picture: async () => null,
      search: async () => absent("searching with a file"),
    };
  }

  const element = document.getElementById("data");
  N.source = element ? inside(element) : server();
})(globalThis.nearkin);
