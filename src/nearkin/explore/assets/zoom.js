"use strict";
// Thumbnails on the points, where the map is magnified and few points are left on view.
(function (N) {
  const MOST = 150, MAGNIFIED = 2, ACROSS = 16, PER = 256, canvas = N.$("near"), stage = N.$("stage"), sheets = new Map();
  let waiting = false, drawn = 0;

  // The sheet, or null until it has arrived; then the map is drawn again.
  function sheet(i) {
    if (!sheets.has(i)) {
      sheets.set(i, null);
      N.sheet(i).then(url => {
        if (!url) return;
        const image = new Image();
        image.addEventListener("load", () => { sheets.set(i, image); ask(); });
        image.src = url;
      });
    }
    return sheets.get(i);
  }
  function rowsOnView() {
    const view = N.meta.pictures && N.plot.count() ? N.plot.view() : null;
    if (!view || Math.hypot(view[0], view[1]) < MAGNIFIED) return [];
    const rows = N.plot.inView().filter(row => N.state.shown[row]);
    return rows.length <= MOST ? rows : [];
  }
  function draw() {
    waiting = false; drawn = 0;
    const rows = rowsOnView(), w = stage.clientWidth, h = stage.clientHeight, scale = devicePixelRatio || 1;
    canvas.hidden = !rows.length;
    if (!rows.length) return;
    canvas.width = w * scale; canvas.height = h * scale; // also clears it
    const c = canvas.getContext("2d"), side = N.meta.pictures.side, size = Math.round(Math.max(26, Math.min(64, Math.sqrt(w * h / rows.length) / 2)));
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.imageSmoothingEnabled = side >= size;
    for (const row of rows) {
      const image = sheet(Math.floor(row / PER)), at = N.plot.position(row), k = row % PER;
      if (!image || !at) continue;
      const x = Math.round(at[0] - size / 2), y = Math.round(at[1] - size / 2);
      c.fillStyle = N.plot.colour(row);
      c.fillRect(x - 2, y - 2, size + 4, size + 4);
      c.drawImage(image, (k % ACROSS) * side, Math.floor(k / ACROSS) * side, side, side, x, y, size, size);
      drawn++;
    }
  }
  function ask() { if (!waiting) { waiting = true; requestAnimationFrame(draw); } }
  N.on("drawn", ask);
  N.thumbnails = () => drawn;
})(globalThis.nearkin);
