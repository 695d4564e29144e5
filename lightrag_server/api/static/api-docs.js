// Loads the API's description, with a key when the server wants one, and hands it to the viewer of this page.
"use strict";

const { description, viewer } = document.body.dataset;
const place = document.getElementById("docs");
const KEPT = "lightrag-api-docs-credential";

const credentials = () => {
  const kept = sessionStorage.getItem(KEPT);
  return kept ? { Authorization: `Bearer ${kept}` } : {};
};

const withCredentials = (request) => {
  const headers = request.headers ?? {};
  if (!headers.Authorization && !headers["X-API-Key"]) {
    request.headers = { ...headers, ...credentials() };
  }
  return request;
};

const show = (spec) => {
  place.replaceChildren();
  if (viewer === "redoc") {
    Redoc.init(spec, {}, place);
    return;
  }
  SwaggerUIBundle({
    spec,
    domNode: place,
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    requestInterceptor: withCredentials,
    presets: [SwaggerUIBundle.presets.apis],
  });
};

const element = (name, properties, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const ask = (why) => {
  const field = element("input", { type: "password", autocomplete: "off", size: 48, autofocus: true });
  const form = element(
    "form",
    {},
    element("p", { textContent: why }),
    element("label", {}, "API key or login token: ", field),
    " ",
    element("button", { textContent: "Open" }),
  );
  form.style.cssText = "font-family: sans-serif; margin: 3rem auto; max-width: 42rem";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEPT, field.value.trim());
    load();
  });
  place.replaceChildren(form);
};

const load = async () => {
  const reply = await fetch(description, { headers: credentials() });
  if (reply.ok) {
    show(await reply.json());
  } else if (reply.status === 401 || reply.status === 403) {
    const had = sessionStorage.getItem(KEPT);
    sessionStorage.removeItem(KEPT);
    ask(had ? "This one does not open it." : "The description of this server's API needs a credential.");
  } else {
    place.textContent = `The description could not be loaded (${reply.status}).`;
  }
};

// `?theme=` at first; a front end that shows the page in a frame tells of later changes.
const THEMES = ["dark", "light", "auto"];
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let theme = "auto";

const paint = () => {
  const isDark = theme === "dark" || (theme === "auto" && prefersDark.matches);
  document.documentElement.classList.toggle("dark-mode", viewer === "swagger" && isDark);
};

const chooseTheme = (wanted) => {
  if (THEMES.includes(wanted)) {
    theme = wanted;
    paint();
  }
};

prefersDark.addEventListener("change", paint);
addEventListener("message", ({ data }) => {
  if (data?.type === "lightrag:set-docs-theme") {
    chooseTheme(data.theme);
  }
});

chooseTheme(new URLSearchParams(location.search).get("theme") ?? "auto");
load();
