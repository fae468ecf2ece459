"use strict";
// The right side: the chosen image and its neighbours in every embedding, a selection, or a dropped image. And the tooltip.
(function (N) {
  const { el, $ } = N, S = N.state, sheets = new Map(), ACROSS = 16, PER = 256, MOST = 300;
  let turn = 0; // answers that arrive after the next question are dropped

  function sheet(i) {
    if (!sheets.has(i)) sheets.set(i, N.source.sheet(i).catch(error => { N.say(error.message, true); return null; }));
    return sheets.get(i);
  }
  N.sheet = sheet;
  function cut(box, row, size) {
    const p = N.meta.pictures;
    if (!p) { const c = N.classColumn(); box.textContent = c ? N.valueText(c, row) : N.meta.ids[row]; return; }
    const k = row % PER;
    sheet(Math.floor(row / PER)).then(url => {
      if (!url) return;
      box.style.backgroundImage = `url("${url}")`;
      box.style.backgroundSize = `${ACROSS * size}px auto`;
      box.style.backgroundPosition = `${-(k % ACROSS) * size}px ${-Math.floor(k / ACROSS) * size}px`;
    });
    if (p.side < size) box.classList.add("px");
  }
  const named = row => { const c = N.classColumn(); return `${N.meta.ids[row]}${c ? `, ${N.valueText(c, row)}` : ""}`; };
  function thumb(row, title, base) {
    const c = N.classColumn(), known = c && base >= 0 && Number.isFinite(c.values[base]) && Number.isFinite(c.values[row]);
    const same = known ? (c.values[base] === c.values[row] ? " same" : " other") : "", mark = S.marks.get(row);
    const b = el("button", { type: "button", class: `thumb${same}${mark ? ` mark-${mark}` : ""}`, title: `${title}${mark ? `\nmarked: ${N.MARKS[mark]}` : ""}`, "aria-label": title, onclick: () => N.choose([row]), onmouseenter: () => N.emit("peek", row), onmouseleave: () => N.emit("peek", -1) });
    b.dataset.row = row;
    cut(b, row, 40);
    return b;
  }
  function big(row) {
    const p = N.meta.pictures, box = el("div", { class: "big" });
    if (!p) { box.append(el("span", { class: "dim", text: "no picture" })); return box; }
    box.style.backgroundRepeat = "no-repeat";
    cut(box, row, 96);
    N.source.picture(row).then(url => {
      if (!url) return;
      const image = el("img", { class: `big${p.side < 64 ? " px" : ""}`, alt: N.meta.ids[row] });
      image.addEventListener("load", () => setTimeout(() => URL.revokeObjectURL(url), 1000));
      image.src = url; box.replaceWith(image);
    }).catch(() => {});
    return box;
  }
  function marking(rows) {
    const box = el("div", { class: "buttons" });
    [1, 2, 3].forEach(m => box.append(el("button", { type: "button", "aria-pressed": String(rows.every(r => S.marks.get(r) === m)), text: N.MARKS[m], title: `Key ${m}`, onclick: () => N.mark(rows, rows.every(r => S.marks.get(r) === m) ? 0 : m) })));
    return box;
  }
  // One block per embedding: what is near on the left, what is far on the right.
  function block(k, found, base, error) {
    const s = N.meta.spaces[k], c = N.classColumn(), note = el("span", { class: "dim" });
    const head = el("div", { class: "head" }, el("b", { text: s.title }), note), out = el("div", { class: `block${k === S.space ? " now" : ""}` }, head);
    if (error) { out.append(el("div", { class: "dim", text: error })); return out; }
    if (!found) { note.textContent = "..."; return out; }
    if (c && base >= 0 && Number.isFinite(c.values[base])) note.textContent = `${found.near.filter(([r]) => c.values[r] === c.values[base]).length} of ${found.near.length} same class`;
    else if (found.near.length) note.textContent = `nearest at ${N.number(found.near[0][1])}`;
    const list = (name, pairs) => { const box = el("div", { class: `thumbs ${name}`, role: "group", "aria-label": name === "near" ? "nearest" : "farthest" }); pairs.forEach(([r, d]) => box.append(thumb(r, `${named(r)}\n${name === "near" ? "nearest" : "farthest"}, distance ${N.number(d)}`, base))); return box; };
    out.append(el("div", { class: "lists" }, list("near", found.near), list("far", found.far)));
    return out;
  }
  async function blocks(box, ask, base, wanted = () => true) {
    const mine = ++turn, order = [S.space, ...N.meta.spaces.keys()].filter((k, i, all) => all.indexOf(k) === i && wanted(k));
    const slots = new Map(order.map(k => [k, block(k, null, base)]));
    [...slots.keys()].sort((a, b) => a - b).forEach(k => box.append(slots.get(k)));
    for (const k of order) {
      let made;
      try {
        const found = await ask(k);
        if (mine !== turn) return;
        made = block(k, found, base);
        if (k === S.space) { S.near = found.near.map(([r]) => r); N.plot.neighbours(S.near); }
      } catch (error) {
        if (mine !== turn) return;
        made = block(k, null, base, error.message);
      }
      slots.get(k).replaceWith(made); slots.set(k, made);
    }
  }
  function focus(row) {
    const box = $("panel"), facts = el("dl", { class: "facts" }), c = N.columnOf(S.colour);
    const fact = (name, text) => facts.append(el("dt", { text: name }), el("dd", { text }));
    for (const key of [...N.meta.columns.map(o => "col:" + o.name), S.colour]) {
      const column = N.columnOf(key);
      if (column && !(key === S.colour && c && key.startsWith("col:"))) fact(column.key.startsWith("score:") ? column.key.slice(6).split("@")[0] : column.title, N.valueText(column, row));
    }
    if (c && S.colour.startsWith("col:")) { facts.prepend(el("dt", { text: c.title }), el("dd", { text: N.valueText(c, row) })); }
    if (!N.plot.onMap(row)) fact("map", "this image is not on this map");
    box.replaceChildren(el("div", { class: "focus" }, big(row), el("div", {}, el("b", { text: N.meta.ids[row] }), facts, marking([row]))), el("h2", { text: "Nearest | farthest, by cosine distance" }));
    blocks(box, k => N.source.neighbours(k, row), row);
  }
  function selection(rows) {
    turn++; N.plot.neighbours([]);
    const box = $("panel"), c = N.classColumn(), counts = new Map(), grid = el("div", { class: "thumbs" });
    if (c) rows.forEach(r => { const t = N.valueText(c, r); counts.set(t, (counts.get(t) || 0) + 1); });
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([name, n]) => `${name} ${n}`).join(", ");
    rows.slice(0, MOST).forEach(r => grid.append(thumb(r, named(r), -1)));
    box.replaceChildren(el("h2", { text: `${rows.length.toLocaleString("en")} images selected` }), el("p", { class: "dim", text: most }), marking(rows), el("p", {}), grid);
    if (rows.length > MOST) box.append(el("p", { class: "dim", text: `the first ${MOST} are shown` }));
  }
  function nothing() {
    turn++; N.plot.neighbours([]);
    $("panel").replaceChildren(el("h2", { text: "Nothing selected" }), el("p", { text: "Click a point to see its nearest and farthest images in every embedding. Drag with Shift, or with Lasso on, to select many." }),
      el("p", { class: "dim", text: N.source.isStatic ? "This is an exported page: searching with a file needs the server." : N.meta.spaces.some(s => s.searchable) ? "Drop an image file on the page to search with it." : "Searching with an image file needs a run with weights: start with --run FOLDER." }));
  }
  N.showDropped = file => {
    const box = $("panel"), image = el("img", { class: "big", alt: "the dropped image" }), url = URL.createObjectURL(file);
    image.src = url; image.addEventListener("load", () => setTimeout(() => URL.revokeObjectURL(url), 1000));
    box.replaceChildren(el("div", { class: "focus" }, image, el("div", {}, el("b", { text: file.name }), el("p", { class: "dim", text: "a dropped file" }))), el("h2", { text: "Nearest | farthest, by cosine distance" }));
    blocks(box, k => N.busy(`embedding the image with ${N.meta.spaces[k].title}`, N.source.search(k, file)), -1, k => N.meta.spaces[k].searchable);
  };
  N.on("selection", () => { if (S.point >= 0) focus(S.point); else if (S.selection.length) selection(S.selection); else nothing(); });
  N.on("marks", () => {
    document.querySelectorAll("#panel .thumb").forEach(b => { const m = S.marks.get(+b.dataset.row); b.className = b.className.replace(/ ?mark-\d/g, "") + (m ? ` mark-${m}` : ""); });
    const rows = S.point >= 0 ? [S.point] : S.selection, old = document.querySelector("#panel .buttons");
    if (rows.length && old) old.replaceWith(marking(rows));
  });

  function over(row, fixed) {
    const tip = $("tip"), at = row >= 0 ? N.plot.position(row) : null;
    if (!at) { tip.hidden = true; return; }
    const c = N.columnOf(S.colour), box = el("div", { class: "thumb" });
    tip.replaceChildren();
    if (N.meta.pictures) { box.style.width = box.style.height = "100px"; cut(box, row, 96); tip.append(box); }
    tip.append(el("div", { text: N.meta.ids[row] }));
    if (c) tip.append(el("div", { class: "dim", text: c.key === "col:class" ? N.valueText(c, row) : `${c.title}: ${N.valueText(c, row)}` }));
    const cls = N.classColumn();
    if (cls && c !== cls) tip.append(el("div", { class: "dim", text: N.valueText(cls, row) }));
    if (S.marks.has(row)) tip.append(el("div", { class: "bad", text: `marked: ${N.MARKS[S.marks.get(row)]}` }));
    tip.hidden = false;
    const stage = $("stage"), x = at[0] + 14 + tip.offsetWidth > stage.clientWidth ? at[0] - 14 - tip.offsetWidth : at[0] + 14;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${Math.max(4, Math.min(stage.clientHeight - tip.offsetHeight - 4, at[1] - tip.offsetHeight / 2))}px`;
  }
  N.on("over", row => over(row)); N.on("peek", row => over(row));
})(globalThis.nearkin);
