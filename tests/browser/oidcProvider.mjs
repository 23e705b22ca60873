// A certified OpenID Connect provider on the loopback interface, with some accounts.
//
//   node oidcProvider.mjs PORT CLIENT_URL
//
// Prints a line once it listens. Its own development pages ask for a name and for consent.

import { generateKeyPairSync } from 'node:crypto'
import { Provider } from 'oidc-provider'

const [port, client] = process.argv.slice(2)

/** @type {Record<string, string[]>} */
const GROUPS = { mona: ['staff', 'moderators'], lea: ['ts-leads'], eve: ['staff'] }

/** @param {string} id */
const account = (id) => ({
  accountId: id,
  claims: () => ({ sub: id, preferred_username: id, groups: GROUPS[id] ?? [] }),
})

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'review',
      client_secret: 'a secret of the tests',
      redirect_uris: [`${client}/login/callback`],
      post_logout_redirect_uris: [`${client}/login`],
    },
  ],
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  cookies: { keys: ['a key of the tests'] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  findAccount: (_context, id) => account(id),
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  pkce: { required: () => true },
})
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'))
