"use strict";
// Marks: kept in this browser under the set's fingerprint, exported as CSV.
(function (N) {
  const { el, $ } = N, S = N.state, key = () => `nearkin-marks-${N.meta.fingerprint}`;

  N.loadMarks = () => {
    let saved = {};
    try { saved = JSON.parse(localStorage.getItem(key()) || "{}"); } catch { /* no storage, or not ours: start empty */ }
    const where = new Map(N.meta.ids.map((id, i) => [id, i]));
    for (const [id, name] of Object.entries(saved)) { const m = N.MARKS.indexOf(name); if (where.has(id) && m > 0) S.marks.set(where.get(id), m); }
    draw();
  };
  const save = () => { try { localStorage.setItem(key(), JSON.stringify(Object.fromEntries([...S.marks].map(([row, m]) => [N.meta.ids[row], N.MARKS[m]])))); } catch { /* private window: marks last as long as the page */ } };

  const field = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  N.marksCsv = () => {
    const c = N.classColumn(), lines = [["path", "label", "mark"]];
    [...S.marks].sort((a, b) => a[0] - b[0]).forEach(([row, m]) => lines.push([N.meta.ids[row], c && Number.isFinite(c.values[row]) ? N.valueText(c, row) : "", N.MARKS[m]]));
    return lines.map(line => line.map(field).join(",")).join("\r\n") + "\r\n";
  };
  function exportCsv() {
    const url = URL.createObjectURL(new Blob([N.marksCsv()], { type: "text/csv" }));
    el("a", { href: url, download: "marks.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 5000);
  }
  function draw() {
    const box = $("marks"), counts = [0, 0, 0, 0];
    S.marks.forEach(m => counts[m]++);
    box.replaceChildren();
    if (!S.marks.size) { box.append(el("p", { class: "dim", text: "Keys 1, 2, 3: duplicate, mislabelled, keep." })); return; }
    [1, 2, 3].forEach(m => counts[m] && box.append(el("button", { class: "key", type: "button", title: "Select these", onclick: () => N.choose([...S.marks].filter(([, k]) => k === m).map(([row]) => row)) }, el("span", { class: "name", text: N.MARKS[m] }), el("span", { class: "count", text: String(counts[m]) }))));
    box.append(el("div", { class: "buttons" }, el("button", { type: "button", text: "Export CSV", onclick: exportCsv }), el("button", { type: "button", text: "Clear", onclick: () => { if (confirm("Remove all marks?")) { S.marks.clear(); N.emit("marks"); } } })));
  }
  N.on("marks", () => { draw(); save(); });
})(globalThis.nearkin);
