// An OpenID Connect provider for tests: node provider.mjs '{"clients": […], "people": {…}, "port": 0, "inside": false}'
// On 127.0.0.1 alone, everything in memory; its pages for development take any password. `inside`: the claims of a
// scope stand in the ID token, not only at the userinfo endpoint. Says `listening ADDRESS` when it is there.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const { clients, people, port = 0, inside = false } = JSON.parse(process.argv[2]);
const names = [...new Set(Object.values(people).flatMap((one) => Object.keys(one)))];
const server = createServer();

server.listen(port, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    claims: { openid: ["sub"], profile: names },
    conformIdTokenClaims: !inside,
    cookies: { keys: ["for tests only"] },
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
    pkce: { required: () => true },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  });
  server.on("request", provider.callback());
  console.log(`listening ${issuer}`);
});
