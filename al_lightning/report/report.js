"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  document.documentElement.classList.add("js");

  // One tab stop for a group; arrow keys, Home and End lead through it.
  const step = (event, count, at) => {
    const keys = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: count - 1 };
    if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return null;
    event.preventDefault();
    return Math.min(Math.max(keys[event.key], 0), count - 1);
  };
  const rove = (items, reached) => {
    items.forEach((item, at) => item.addEventListener("keydown", (event) => {
      const next = step(event, items.length, at);
      if (next === null) return;
      event.stopPropagation();
      items.forEach((other, i) => other.setAttribute("tabindex", i === next ? 0 : -1));
      items[next].focus();
      if (reached) reached(next);
    }));
  };

  // Tips of marks, on hover and on focus.
  const tip = document.getElementById("tip");
  const show = (mark) => {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = mark.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = box.left + box.width / 2 - own.width / 2;
    tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - own.width - 8))}px`;
    tip.style.top = `${box.top - own.height - 8 < 0 ? box.bottom + 8 : box.top - own.height - 8}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const drawing of all("svg[data-marks]")) {
    drawing.addEventListener("pointerover", (event) => event.target.dataset.tip ? show(event.target) : hide());
    drawing.addEventListener("pointerleave", hide);
    drawing.addEventListener("focusin", (event) => event.target.dataset.tip && show(event.target));
    drawing.addEventListener("focusout", hide);
    const marks = all("[data-tip]", drawing);
    marks.forEach((mark, at) => mark.setAttribute("tabindex", at ? -1 : 0));
    rove(marks);
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", hide, { passive: true });

  // Tabs.
  for (const box of all("[data-tabs]")) {
    const buttons = all(":scope > [role=tablist] > [role=tab]", box);
    const choose = (chosen) => buttons.forEach((button, at) => {
      button.setAttribute("aria-selected", at === chosen);
      button.setAttribute("tabindex", at === chosen ? 0 : -1);
      document.getElementById(button.getAttribute("aria-controls")).hidden = at !== chosen;
    });
    choose(buttons.findIndex((button) => button.getAttribute("aria-selected") === "true"));
    buttons.forEach((button, at) => button.addEventListener("click", () => choose(at)));
    rove(buttons, choose);
  }

  // Gallery: one unit at a time.
  for (const box of all("[data-gallery]")) {
    const chips = all("[data-show]", box);
    const choose = (chosen) => chips.forEach((chip, at) => {
      at === chosen ? chip.setAttribute("aria-current", "true") : chip.removeAttribute("aria-current");
      chip.setAttribute("tabindex", at === chosen ? 0 : -1);
      document.getElementById(chip.dataset.show).hidden = at !== chosen;
    });
    choose(0);
    chips.forEach((chip, at) => chip.addEventListener("click", () => choose(at)));
    rove(chips, choose);
  }

  // Legends: press a name to hide what it stands for.
  for (const button of all("[data-toggles]")) {
    const root = button.closest("figure");
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", on);
      all(`svg .${button.dataset.toggles}`, root).forEach((mark) => mark.classList.toggle("off", !on));
    });
  }

  // Tables: sorted by the column whose head is pressed; numbers by their value.
  const key = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  };
  for (const table of all("table[data-sortable]")) {
    all("thead th", table).forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort"), words = table.rows[1] && key(table.rows[1], column) === null;
      const sign = before ? (before === "descending" ? 1 : -1) : words ? 1 : -1;  // numbers: the largest first
      all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const x = key(a, column), y = key(b, column);
        if (x === null && y === null) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
        if (x === null || y === null) return x === null ? 1 : -1;
        return sign * (x - y);
      });
      table.tBodies[0].append(...rows);
    }));
  }

  // The section in view, in the navigation.
  const links = new Map(all("nav a").map((link) => [link.getAttribute("href").slice(1), link]));
  const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id).setAttribute("aria-current", "true");
  }), { rootMargin: "-20% 0px -70% 0px" });
  all("main > section").forEach((section) => watcher.observe(section));
})();
