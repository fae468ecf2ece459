"use strict";
(function () {
  const D = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement, css = n => getComputedStyle(root).getPropertyValue(n).trim();
  const theme = document.getElementById("theme");
  theme.onclick = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme:dark)").matches;
    root.dataset.theme = dark ? "light" : "dark"; redraw.forEach(f => f());
  };
  const redraw = [];
  const NS = "http://www.w3.org/2000/svg";
  const el = (n, a, p) => { const e = document.createElementNS(NS, n); for (const k in a) e.setAttribute(k, a[k]); if (p) p.appendChild(e); return e; };
  const fmt = v => v === 0 ? "0" : Math.abs(v) >= 1000 || Math.abs(v) < 0.01 ? v.toExponential(1) : (+v.toPrecision(4)).toString();
  function ticks(a, b, n) {
    const s = Math.pow(10, Math.floor(Math.log10((b - a) / n))), m = (b - a) / n / s, st = s * (m > 5 ? 10 : m > 2 ? 5 : m > 1 ? 2 : 1), o = [];
    for (let v = Math.ceil(a / st) * st; v <= b + st * 1e-9; v += st) o.push(Math.abs(v) < st * 1e-9 ? 0 : v);
    return o;
  }
  // Line charts: drag to zoom, double click to reset, hover to read values.
  document.querySelectorAll(".chart").forEach(box => {
    const spec = D.charts[+box.dataset.chart], L = 50, R = 12, T = 28, B = 34;
    let W = 480, H = 270; // one unit is one pixel, so that text has the page's size on a phone too
    let zoom = null, log = false, seen = false;
    const svg = el("svg", { role: "img", "aria-label": spec.title }, box);
    const tools = document.createElement("div"); tools.className = "tools"; box.appendChild(tools);
    const b = document.createElement("button"); b.textContent = "log scale"; b.setAttribute("aria-pressed", "false"); tools.appendChild(b);
    const u = document.createElement("button"); u.textContent = "images seen"; u.setAttribute("aria-pressed", "false"); tools.appendChild(u);
    u.onclick = () => { seen = !seen; u.setAttribute("aria-pressed", seen); draw(); };
    const unit = () => seen ? D.images_per_epoch : 1, axis = () => seen ? "training images seen" : "epoch";
    const big = v => Math.abs(v) >= 1e6 ? +(v / 1e6).toPrecision(3) + "M" : Math.abs(v) >= 1e4 ? +(v / 1e3).toPrecision(3) + "k" : fmt(v);
    const read = document.createElement("span"); read.className = "read"; read.textContent = "drag to zoom, double click to reset"; tools.appendChild(read);
    b.onclick = () => { log = !log; b.setAttribute("aria-pressed", log); draw(); };
    let X, Y, inv;
    function draw() {
      svg.textContent = ""; W = Math.max(260, box.clientWidth - 22); H = Math.round(Math.min(300, Math.max(200, W * .56)));
      svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
      const fy = v => log ? Math.log10(v) : v, ok = p => p[1] !== null && (!log || p[1] > 0);
      let pts = spec.series.flatMap(s => s.points.filter(p => ok(p) && (!zoom || (p[0] >= zoom[0] && p[0] <= zoom[1]))));
      if (!pts.length) return;
      let x0 = zoom ? zoom[0] : Math.min(...pts.map(p => p[0])), x1 = zoom ? zoom[1] : Math.max(...pts.map(p => p[0]));
      let y0 = Math.min(...pts.map(p => fy(p[1]))), y1 = Math.max(...pts.map(p => fy(p[1])));
      if (x1 === x0) { x0 -= .5; x1 += .5; } if (y1 - y0 < 1e-12) { y0 -= .5 * Math.abs(y0) + 1e-6; y1 += .5 * Math.abs(y1) + 1e-6; }
      const pad = (y1 - y0) * .05; y0 -= pad; y1 += pad;
      X = v => L + (v - x0) / (x1 - x0) * (W - L - R); Y = v => H - B - (fy(v) - y0) / (y1 - y0) * (H - T - B); inv = px => x0 + (px - L) / (W - L - R) * (x1 - x0);
      el("text", { x: L, y: 14, style: "font-weight:600;fill:var(--fg);font-size:14px" }, svg).textContent = spec.title;
      ticks(y0, y1, 5).forEach(t => { const y = H - B - (t - y0) / (y1 - y0) * (H - T - B); el("line", { x1: L, x2: W - R, y1: y, y2: y, class: "axis" }, svg); el("text", { x: L - 5, y: y + 4, "text-anchor": "end" }, svg).textContent = fmt(log ? Math.pow(10, t) : t); });
      ticks(x0 * unit(), x1 * unit(), W < 360 ? 4 : 6).forEach(t => { el("text", { x: X(t / unit()), y: H - B + 16, "text-anchor": "middle" }, svg).textContent = big(t); });
      el("text", { x: W - R, y: H - 3, "text-anchor": "end" }, svg).textContent = axis();
      spec.series.forEach(s => {
        const p = s.points.filter(q => ok(q) && q[0] >= x0 - 1e-9 && q[0] <= x1 + 1e-9); if (!p.length) return;
        if (s.marks) p.forEach(q => el("circle", { cx: X(q[0]), cy: Y(q[1]), r: 4, fill: "none", stroke: s.color, "stroke-width": 2 }, svg));
        else el("path", { d: "M" + p.map(q => X(q[0]).toFixed(1) + "," + Y(q[1]).toFixed(1)).join("L"), fill: "none", stroke: s.color, "stroke-width": s.thin ? 1 : 2, "stroke-dasharray": s.dash ? "5 4" : "", opacity: s.thin ? .45 : 1 }, svg);
        if (!s.marks && p.length === 1) el("circle", { cx: X(p[0][0]), cy: Y(p[0][1]), r: 2.5, fill: s.color }, svg);
      });
    }
    const at = e => { const r = svg.getBoundingClientRect(); return (e.clientX - r.left) / r.width * W; };
    let start = null, band = null;
    svg.addEventListener("pointerdown", e => { if (e.pointerType === "touch") return; start = at(e); band = el("rect", { y: T, height: H - T - B, fill: css("--accent"), opacity: .15 }, svg); });
    svg.addEventListener("pointermove", e => {
      if (!inv) return; const px = at(e);
      if (band) { band.setAttribute("x", Math.min(px, start)); band.setAttribute("width", Math.abs(px - start)); }
      const x = inv(px);
      read.textContent = (seen ? `${big(x * unit())} images: ` : `epoch ${x.toFixed(2)}: `) + spec.series.filter(s => !s.thin).map(s => { const q = s.points.filter(p => p[1] !== null).reduce((a, p) => !a || Math.abs(p[0] - x) < Math.abs(a[0] - x) ? p : a, null); return q ? `${s.name} ${fmt(q[1])}` : ""; }).filter(Boolean).join(", ");
    });
    addEventListener("pointerup", e => { if (start === null) return; const a = inv(start), c = inv(at(e)); if (Math.abs(at(e) - start) > 6) zoom = [Math.min(a, c), Math.max(a, c)]; start = band = null; draw(); });
    svg.addEventListener("dblclick", () => { zoom = null; draw(); });
    draw(); redraw.push(draw);
  });
  // Maps: points on a canvas; hover names an image, the legend isolates a class.
  const decode = t => { const b = atob(t), n = b.length / 2, o = new Uint16Array(n); for (let i = 0; i < n; i++) o[i] = b.charCodeAt(2 * i) | b.charCodeAt(2 * i + 1) << 8; return o; };
  let only = null;
  const figures = [...document.querySelectorAll("figure[data-map]")].map(fig => {
    const m = D.maps[+fig.dataset.map], xy = decode(m.xy), y = decode(m.labels || D.labels[m.key]), canvas = fig.querySelector("canvas"), read = fig.querySelector(".read"), n = y.length;
    function draw() {
      if (!canvas.clientWidth) return; // folded away
      const w = Math.max(280, canvas.clientWidth) * Math.min(2, devicePixelRatio || 1); canvas.width = canvas.height = w;
      const c = canvas.getContext("2d"), r = Math.max(1.1, w / 640 * (n > 4000 ? 1.2 : n > 500 ? 2.2 : 3.6)), p = 12, s = (w - 2 * p) / 65535;
      c.clearRect(0, 0, w, w);
      for (let pass = 0; pass < 2; pass++) for (let j = 0; j < n; j++) {
        const i = (j * 7919) % n, on = only === null || m.names || y[i] === only; if (on !== (pass === 1)) continue;
        c.globalAlpha = on ? .8 : .08; c.fillStyle = y[i] === 65535 ? css("--dim") : D.colors[y[i] % D.colors.length];
        const x = p + xy[2 * i] * s, v = w - p - xy[2 * i + 1] * s;
        if (y[i] >= D.colors.length && y[i] !== 65535) c.fillRect(x - r, v - r, 2 * r, 2 * r); else { c.beginPath(); c.arc(x, v, r, 0, 7); c.fill(); }
      }
      c.globalAlpha = 1; c.font = `600 ${Math.round(w / 32)}px system-ui,sans-serif`; c.textAlign = "center"; c.textBaseline = "middle";
      (m.marks || []).forEach(([k, a, b]) => {
        const x = p + a * s, v = w - p - b * s; c.lineWidth = w / 160; c.strokeStyle = css("--bg"); c.strokeText(k, x, v); c.fillStyle = css("--fg"); c.fillText(k, x, v);
      });
    }
    canvas.addEventListener("pointermove", e => {
      const b = canvas.getBoundingClientRect(), k = 65535 / (b.width - 24 / (canvas.width / b.width)), q = 12 / (canvas.width / b.width), x = (e.clientX - b.left - q) * k, v = (b.bottom - e.clientY - q) * k; let best = -1, d = 4e6;
      for (let i = 0; i < n; i++) { const a = xy[2 * i] - x, z = xy[2 * i + 1] - v, t = a * a + z * z; if (t < d) { d = t; best = i; } }
      read.textContent = best < 0 ? "" : `${y[best] === 65535 ? "no label" : (m.names || D.classes)[y[best]]}` + (D.ids[m.key] ? `: ${D.ids[m.key][best]}` : "");
    });
    draw(); redraw.push(draw); fig.draw = draw; return draw;
  });
  document.querySelectorAll("[data-class]").forEach(b => b.onclick = () => {
    const k = +b.dataset.class; only = only === k ? null : k;
    document.querySelectorAll("[data-class]").forEach(o => o.setAttribute("aria-pressed", only === +o.dataset.class)); figures.forEach(f => f());
  });
  document.querySelectorAll("details").forEach(d => d.addEventListener("toggle", () => d.querySelectorAll("figure[data-map]").forEach(f => f.draw())));
  let wait; addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(() => redraw.forEach(f => f()), 150); });
  matchMedia("(prefers-color-scheme:dark)").addEventListener("change", () => redraw.forEach(f => f()));
})();
