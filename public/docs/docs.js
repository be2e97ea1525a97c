// Starts the reader of /openapi.json. The API key that someone types in to try a call stays in this page's memory:
// nothing is stored, and it is gone with the page.

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "/openapi.json",
  domNode: document.getElementById("reference"),
  // A link inside each operation's button would be there for nobody who uses a keyboard or hears the page.
  deepLinking: false,
  docExpansion: "none",
  filter: true,
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  persistAuthorization: false,
  showCommonExtensions: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});

// Fields the reader leaves without a name for who hears the page.
const name = () => {
  for (const field of document.querySelectorAll("#reference textarea:not([aria-label])"))
    field.setAttribute("aria-label", "Request body");
};
new MutationObserver(name).observe(document.getElementById("reference"), { childList: true, subtree: true });
