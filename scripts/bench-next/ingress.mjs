// nginx as people have it before an app: HTTP/2 over TLS, `www.shop.test` and `images.shop.test`, and the README's rules.
import { createHash, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { finish, freePort, run } from '../../clients/nextjs/e2e/harness.mjs'

const NGINX = process.env.NGINX_BIN ?? '/usr/sbin/nginx'
const HOSTS = ['www.shop.test', 'images.shop.test']

/** Certificates for a while: one for both hosts, and one for each. */
export async function makeCertificates() {
  const directory = mkdtempSync(join(tmpdir(), 'pixgate-certificates-'))
  const make = async (name, hosts) => {
    const [key, certificate] = ['key', 'pem'].map((kind) => join(directory, `${name}.${kind}`))
    const names = `subjectAltName=${hosts.map((host) => `DNS:${host}`).join()}`
    await finish('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${hosts[0]}`, '-addext', names, '-keyout', key, '-out', certificate], {})
    const spki = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: 'spki', format: 'der' })
    return { key, certificate, pin: createHash('sha256').update(spki).digest('base64') }
  }
  const [both, app, pictures] = [await make('both', HOSTS), await make('app', HOSTS.slice(0, 1)), await make('pictures', HOSTS.slice(1))]
  return { both, app, pictures, pins: [both, app, pictures].map(({ pin }) => pin).join(), stop: () => rmSync(directory, { recursive: true }) }
}

/**
 * Starts nginx on `port`: `app` is the address of the build of the example and `pixgate` that of the service. What it has
 * handed over is beyond recall for what is worth more, so its send buffer is small (examples/line.rs says why). With one
 * certificate for both hosts a browser has one connection to them.
 */
export async function startIngress({ port, app, pixgate, certificates, shared }) {
  const cwd = mkdtempSync(join(tmpdir(), 'pixgate-ingress-'))
  const ready = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${cwd}/${name};`).join(' ')
  const upstream = (name, url) => (url ? `upstream ${name} { server ${new URL(url).host}; keepalive 32; }` : '')
  const host = (name, certificate, locations) => `server {
    listen 127.0.0.1:${port} ssl http2${name === HOSTS[0] ? ' sndbuf=8k' : ''};
    server_name ${name};
    ssl_certificate ${certificate.certificate};
    ssl_certificate_key ${certificate.key};
    ${locations}
  }`
  const pass = (path, to) => `location ${path} { proxy_pass ${to}; }`
  const rules = pass('= /ingress/_next/image', 'http://pixgate/_next/image') + pass('= /own/image', 'http://pixgate/image')
  const { both } = certificates
  writeFileSync(
    join(cwd, 'nginx.conf'),
    `daemon off; pid ${cwd}/nginx.pid; error_log stderr; worker_processes 1; events {}
http {
  access_log off; ${temporary}
  proxy_buffers 16 32k; proxy_max_temp_file_size 0;
  proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto $scheme;
  ${upstream('app', app)} ${upstream('pixgate', pixgate)}
  server { listen 127.0.0.1:${ready}; return 204; }
  ${host('www.shop.test', shared ? both : certificates.app, (pixgate ? rules : '') + pass('/', 'http://app'))}
  ${pixgate ? host('images.shop.test', shared ? both : certificates.pictures, pass('/', 'http://pixgate')) : ''}
}`,
  )
  const { stop } = await run(NGINX, ['-c', join(cwd, 'nginx.conf'), '-p', cwd, '-e', 'stderr'], { url: `http://127.0.0.1:${ready}`, cwd })
  return { stop: () => stop().then(() => rmSync(cwd, { recursive: true, force: true })) }
}
