(() => {
  "use strict";
  // Copying: the button appears, since it works; without a secure page the text is selected first.
  const copied = async (text, source) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const range = document.createRange();
    range.selectNodeContents(source);
    window.getSelection().removeAllRanges();
    window.getSelection().addRange(range);
    if (!document.execCommand("copy")) throw new Error("not copied");
  };
  const said = document.createElement("p");
  said.className = "hidden";
  said.setAttribute("role", "status");
  document.body.append(said);
  const copyable = (root) => {
    for (const button of root.querySelectorAll("button.copy")) {
      const source = document.getElementById(button.dataset.copy), label = button.firstChild, word = label.textContent;
      button.hidden = false;
      if (button.closest("[data-take]")) button.closest("[data-take]").hidden = false;
      button.addEventListener("click", async () => {
        try {
          await copied(source.textContent, source);
          label.textContent = said.textContent = "Copied";
        } catch {
          if (source.closest("details")) source.closest("details").open = true;
          source.focus();
          label.textContent = said.textContent = "Select it and copy";
        }
        setTimeout(() => { label.textContent = word; said.textContent = ""; }, 2000);
      });
    }
  };
  copyable(document);

  // A study: its page is fetched anew when something has happened, and put in part by part.
  const live = document.querySelector("#live[data-events]");
  if (!live) return;
  const { sortable, draw } = window.report;
  const followed = document.getElementById("followed");
  const field = (name, text) => {
    const place = live.querySelector(`[data-field=${name}]`);
    if (place && place.textContent !== text) place.textContent = text;
  };
  const duration = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
  const count = (n) => n.toLocaleString("en");
  const names = (root) => [...root.querySelectorAll("[data-figure]")].map((one) => one.dataset.figure).join();
  const renewed = (there) => {
    for (const id of ["figures", "themes"]) {
      const now = document.getElementById(id), next = there.getElementById(id);
      if (now && next) now.textContent = next.textContent;
      else if (next) document.body.append(document.importNode(next, true));
    }
    for (const place of live.querySelectorAll("[data-live]")) {
      const next = there.querySelector(`[data-live=${place.dataset.live}]`);
      if (!next || place.innerHTML === next.innerHTML) continue;
      if (place.dataset.live === "figures" && names(place) === names(next)) {
        const words = next.querySelectorAll(".note");
        place.querySelectorAll(".note").forEach((one, i) => { one.textContent = words[i].textContent; });
        continue;
      }
      const open = [...place.querySelectorAll("details")].map((one) => one.open);
      const inside = place.contains(document.activeElement) && document.activeElement.closest("[id]")?.id;
      place.replaceChildren(...[...next.childNodes].map((one) => document.importNode(one, true)));
      place.querySelectorAll("details").forEach((one, i) => { if (i in open) one.open = open[i]; });
      sortable(place);
      copyable(place);
      if (inside) document.getElementById(inside)?.focus();
    }
    if (window.Plotly || !document.getElementById("figures")) return draw();
    const script = document.createElement("script");
    script.src = document.body.dataset.plotly;
    script.addEventListener("load", draw);
    document.head.append(script);
  };
  let asked = false, last = 0;
  const renew = (rest = 3000) => {
    if (asked) return;
    asked = true;
    setTimeout(async () => {
      asked = false;
      last = Date.now();
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.ok) renewed(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch { followed.textContent = "The service is away; the page goes on when it is back."; }
    }, Math.max(0, last + rest - Date.now()));
  };
  const stream = new EventSource(live.dataset.events);
  stream.addEventListener("open", () => { followed.textContent = "This page follows the study."; });
  stream.addEventListener("error", () => { followed.textContent = "The service is away; the page goes on when it is back."; });
  stream.addEventListener("progress", (event) => {
    const told = JSON.parse(event.data), share = Math.min(0.99, told.images / Math.max(told.images_expected, 1));
    const bar = live.querySelector("[data-field=share]");
    if (bar) bar.value = share;
    field("percent", `${Math.round(100 * share)} %`);
    field("phase", told.phase);
    field("trials", `${told.trials_done} of ${told.trials_total}`);
    field("images", `${count(told.images)} of about ${count(told.images_expected)}`);
    field("speed", `${told.images_per_second.toPrecision(3)} images/s`);
    const left = Math.max(told.images_expected - told.images, 0) / told.images_per_second;
    field("left", told.images_per_second > 0 ? `about ${duration(left)}` : "–");
    field("driver", told.driver);
  });
  for (const kind of ["queued", "began", "search", "confirm", "trial", "warning", "row", "stopped", "failed", "done", "retracted"]) stream.addEventListener(kind, () => renew());
  stream.addEventListener("end", () => {
    stream.close();
    last = 0;
    asked = false;
    renew(0);
    followed.textContent = "The study has ended.";
  });
  window.addEventListener("pagehide", () => stream.close());
})();
