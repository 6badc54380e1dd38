// The description, readable, with calls to try. The token that is typed in stays in this page.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  // Or it would ask a server elsewhere whether the description is valid.
  validatorUrl: null,
});
