// Makes elements. Text is set as text and never parsed: whatever a name holds, it stays a name.

/** Control characters, and those that turn text around, are shown as what they are: no text. */
const printable = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

/** An HTML element: attributes (functions are listeners; null and false are left out), then children. */
const el = (name, attributes, ...children) => filled(document.createElement(name), attributes, children);

/** Likewise an element of SVG. */
const svg = (name, attributes, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(key, value === true ? "" : printable(String(value)));
    }
  }
  put(element, ...children);
  return element;
}

/** Adds elements and texts; null, false and lists within lists are fine. */
function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : printable(String(child)));
  }
}

/** A disclosure whose content is made when it is first opened. */
function disclosure(summary, content, { cls = "more", open = false } = {}) {
  const details = el("details", { class: cls }, el("summary", {}, summary));
  const fill = () => {
    if (details.childElementCount === 1) put(details, content());
  };
  details.addEventListener("toggle", fill);
  if (open) {
    fill();
    details.open = true;
  }
  return details;
}

/** A table of texts. Columns are [heading, function of a row, class or function of a row]; the first heads its row. */
function table(caption, columns, rows, cls = "numbers") {
  const heads = columns.map(([title, , kind], k) => el("th", { scope: "col", class: k === 0 ? "text" : typeof kind === "string" && kind }, title));
  const line = (row) => columns.map(([, cell, kind], k) =>
    k === 0 ? el("th", { scope: "row", class: "text" }, cell(row)) : el("td", { class: typeof kind === "function" ? kind(row) : kind }, cell(row)));
  return signed(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { class: cls }, el("caption", {}, caption), el("thead", {}, el("tr", {}, heads)),
      el("tbody", {}, rows.map((row) => el("tr", {}, line(row)))))));
}

/** A list of terms, each with what stands beside it; a term without anything is left out. */
const terms = (pairs, cls) =>
  el("dl", { class: cls }, pairs.filter(([, said]) => said !== null && said !== undefined && said !== "" && said?.length !== 0)
    .map(([term, said]) => [el("dt", {}, term), el("dd", {}, said)]));

/** A button that copies a text; where that is refused, as on some disks, the text is shown and selected. */
function copyButton(label, text) {
  const said = el("span", { role: "status", class: "small soft" });
  const button = el("button", {
    type: "button",
    click: async () => {
      try {
        await navigator.clipboard.writeText(printable(text));
        said.textContent = "Copied.";
      } catch {
        const field = el("textarea", { class: "field", readonly: true, "aria-label": label });
        field.value = printable(text);
        button.after(field);
        field.select();
        said.textContent = "The browser does not let this page copy: the text is selected, press Ctrl+C.";
      }
    },
  }, label);
  return [button, " ", said];
}
