// A provider of OpenID Connect for the tests: anybody signs in under any name, which is also the preferred_username.
//
// JSON in SETTINGS: jwks (private keys), clients, seconds (that a token is valid), port (0: any). It prints its issuer
// when it answers.
import http from "node:http";
import { Provider } from "oidc-provider";

const { jwks, clients, seconds, port } = JSON.parse(process.env.SETTINGS);
const server = http.createServer();
server.listen(port, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks,
    clients,
    claims: { openid: ["sub"], profile: ["preferred_username"] },
    conformIdTokenClaims: false,
    enabledJWA: { idTokenSigningAlgValues: ["ES256", "HS256"] },
    cookies: { keys: ["of the test"] },
    features: { devInteractions: { enabled: true } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id }),
    }),
    ttl: { IdToken: seconds, AccessToken: 600, AuthorizationCode: 600, Interaction: 600, Session: 600, Grant: 600 },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
