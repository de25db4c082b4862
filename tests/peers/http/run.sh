#!/bin/bash
# HTTP/1.1 against real peers: curl, wrk, ab and raw bytes against our server, nginx behind our client, with TLS too.
#
#   tests/peers/http/run.sh           builds the examples and runs every check; a missing tool is said and skipped
#   tests/peers/http/run.sh --built   uses target/release/examples as they are
#
# Exit code 1 if any check fails.
set -u
cd "$(dirname "$0")/../../.."
target="${CARGO_TARGET_DIR:-target}/release/examples"
if [ "${1:-}" != "--built" ]; then
    cargo build --release -q -p duologue-tokio --example http_server --example http_client --example sse_client || exit 1
fi
PATH="$PATH:/usr/sbin"
work="$(mktemp -d)"
processes=()
finish() {
    for process in "${processes[@]}"; do kill "$process" 2> /dev/null; done
    wait 2> /dev/null
    rm -rf "$work"
}
trap finish EXIT

failed=0
check() { # what, expected pattern, text
    if printf '%s' "$3" | tr -d '\r' | grep -qE -- "$2"; then
        echo "ok      $1"
    else
        echo "FAILED  $1: no /$2/ in: $(printf '%s' "$3" | head -c 400)"
        failed=1
    fi
}
has() { command -v "$1" > /dev/null 2>&1 || { echo "skipped $2: $1 is missing"; return 1; }; }

"$target/http_server" --port 0 2> "$work/server" &
processes+=($!)
for _ in $(seq 50); do grep -q serving "$work/server" && break; sleep 0.1; done
url="$(sed -n 's/^serving on //p' "$work/server")"
[ -n "$url" ] || { echo "FAILED  the server did not start"; exit 1; }
port="${url##*:}"

if has curl "curl"; then
    curl="curl -sS --max-time 20"
    check "GET" "Hello, world!" "$($curl "$url/")"
    check "404" "^404$" "$($curl -o /dev/null -w '%{http_code}' "$url/nowhere")"
    check "HEAD" "content-length: 13" "$($curl -I "$url/")"
    check "keep-alive: two requests, one connection" "^1 0 $" "$($curl -o /dev/null -o /dev/null -w '%{num_connects} ' "$url/" "$url/")"
    check "HTTP/1.0" "connection: close" "$($curl -0 -i "$url/")"
    head -c 3000000 /dev/urandom > "$work/upload"
    $curl --data-binary "@$work/upload" -H 'Expect:' -o "$work/echo" "$url/echo"
    check "echo with Content-Length" "^same$" "$(cmp -s "$work/upload" "$work/echo" && echo same)"
    $curl --data-binary @- -H 'Transfer-Encoding: chunked' -H 'Expect:' -o "$work/echo" "$url/echo" < "$work/upload"
    check "echo in chunks" "^same$" "$(cmp -s "$work/upload" "$work/echo" && echo same)"
    check "100 (Continue)" "HTTP/1.1 100 Continue.*" "$($curl -v --data-binary "@$work/upload" -H 'Expect: 100-continue' -o "$work/echo" "$url/echo" 2>&1)"
    check "echo after 100 (Continue)" "^same$" "$(cmp -s "$work/upload" "$work/echo" && echo same)"
    check "early refusal instead of 100" "^413 0$" "$($curl --data-binary "@$work/upload" -H 'Expect: 100-continue' -o /dev/null -w '%{http_code} %{size_upload}' "$url/refuse")"
    check "early refusal during the upload" "^413$" "$($curl --data-binary "@$work/upload" -H 'Expect:' -o /dev/null -w '%{http_code}' "$url/refuse" 2> /dev/null)"
    check "slow answer" "At last" "$($curl "$url/slow?ms=200")"
    events="$(curl -sSN --max-time 1 "$url/events" 2> /dev/null)"
    check "server-sent events" "^data: event 2$" "$events"
    events="$(curl -sSN --max-time 1 -H 'Last-Event-ID: 41' "$url/events" 2> /dev/null)"
    check "server-sent events go on" "^id: 42$" "$events"
fi

# Raw bytes: what no polite client sends.
raw() { # bytes
    exec 3<> "/dev/tcp/127.0.0.1/$port" || return
    printf "$1" >&3
    timeout 5 cat <&3
    exec 3>&-
}
get='GET / HTTP/1.1\r\nHost: a\r\n\r\n'
last='GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
check "pipelining: three answers, then the end" "^3$" "$(raw "$get$get$last" | grep -c 'HTTP/1.1 200 OK')"
check "both lengths" "^HTTP/1.1 400" "$(raw 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')"
check "HTTP/2 by prior knowledge" "^HTTP/1.1 505" "$(raw 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')"
if has nc "half-close"; then
    check "half-close after the request" "Hello, world!" "$(printf "$get" | timeout 5 nc -N 127.0.0.1 "$port")"
fi

if has wrk "wrk"; then
    out="$(timeout 30 wrk -t1 -c32 -d2s "$url/")"
    check "wrk" "Requests/sec" "$out"
    check "wrk without errors" "^none$" "$(echo "$out" | grep -E 'Non-2xx|Socket errors' || echo none)"
    echo "        $(echo "$out" | grep Requests/sec)"
fi
if has ab "ab"; then
    check "ab with keep-alive" "Failed requests: +0" "$(timeout 60 ab -q -k -n 5000 -c 16 "$url/" 2>&1)"
    check "ab without keep-alive" "Failed requests: +0" "$(timeout 60 ab -q -n 1000 -c 16 "$url/" 2>&1)"
fi

check "our client against our server" "^1 sockets opened" "$(timeout 60 "$target/http_client" "$url/" --requests 500)"
if has nginx "nginx"; then
    mkdir -p "$work/html"
    head -c 100000 /dev/urandom > "$work/html/large"
    # With TLS where openssl makes the certificates: somebody whom the client trusts, who vouches for "localhost".
    with_tls=""
    if has openssl "nginx with TLS"; then
        request="openssl req -new -newkey rsa:2048 -nodes"
        if $request -x509 -keyout "$work/ca.key" -out "$work/ca.pem" -days 2 -subj /CN=peers \
                -addext keyUsage=critical,keyCertSign > "$work/openssl" 2>&1 \
            && $request -keyout "$work/key.pem" -out "$work/request.pem" -subj /CN=localhost >> "$work/openssl" 2>&1 \
            && printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n' > "$work/leaf" \
            && openssl x509 -req -in "$work/request.pem" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial \
                -days 2 -extfile "$work/leaf" -out "$work/cert.pem" >> "$work/openssl" 2>&1; then
            with_tls=yes
        else
            echo "FAILED  no certificate: $(tail -n 3 "$work/openssl")"
            failed=1
        fi
    fi
    # nginx takes no port 0: a few are tried, until it stays.
    for attempt in 1 2 3 4 5; do
        nginx_port=$((20000 + (RANDOM % 12000)))
        tls=""
        if [ -n "$with_tls" ]; then
            tls="
    server { listen 127.0.0.1:$((nginx_port + 1)) ssl;
        ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; root $work/html;
        location /ours/ { proxy_pass $url/; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off; } }
    server { listen 127.0.0.1:$((nginx_port + 2)) ssl; ssl_protocols TLSv1.2;
        ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; root $work/html; }"
        fi
        cat > "$work/nginx.conf" << CONF
daemon off; master_process off; pid $work/pid; error_log $work/error.log;
events { worker_connections 64; }
http {
    access_log off; keepalive_requests 100;
    client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
    server { listen 127.0.0.1:$nginx_port; root $work/html;
        location /ours/ { proxy_pass $url/; proxy_http_version 1.1; proxy_set_header Connection ""; } }$tls
}
CONF
        nginx -c "$work/nginx.conf" 2> "$work/nginx.out" &
        process=$!
        for _ in $(seq 50); do
            [ -s "$work/pid" ] || ! kill -0 "$process" 2> /dev/null && break
            sleep 0.1
        done
        if kill -0 "$process" 2> /dev/null; then
            processes+=("$process")
            break
        fi
    done
    nginx="http://127.0.0.1:$nginx_port"
    out="$(timeout 60 "$target/http_client" "$nginx/large" --requests 250 --connections 2 2>&1)"
    check "our client against nginx: every byte" "250 answers, 0 of them not 200, 25000000 bytes" "$out"
    check "our client against nginx: replaced after 100 requests each" "^[34] sockets opened" "$out"
    if [ -n "$with_tls" ]; then
        ask="timeout 60 $target/http_client --ca $work/ca.pem"
        out="$($ask "https://localhost:$((nginx_port + 1))/large" --requests 250 --connections 2 2>&1)"
        check "our client against nginx with TLS: every byte" "250 answers, 0 of them not 200, 25000000 bytes" "$out"
        check "our client against nginx with TLS: replaced after 100 requests each" "^[34] sockets opened" "$out"
        out="$($ask "https://localhost:$((nginx_port + 1))/large" --requests 50 2>&1)"
        check "our client against nginx with TLS: one connection for 50 requests" "^1 sockets opened" "$out"
        out="$($ask "https://localhost:$((nginx_port + 2))/large" --requests 50 2>&1)"
        check "our client against nginx with TLS 1.2: every byte" "50 answers, 0 of them not 200, 5000000 bytes" "$out"
        check "our client against nginx with TLS 1.2: one connection for 50 requests" "^1 sockets opened" "$out"
        out="$($ask "https://127.0.0.1:$((nginx_port + 1))/" 2>&1)"
        check "a certificate for another name" "the certificate of 127.0.0.1 was refused" "$out"
        out="$($ask "https://localhost:$nginx_port/" 2>&1)"
        check "no TLS where https was asked" "TLS with localhost failed" "$out"
        out="$(timeout 20 "$target/sse_client" --ca "$work/ca.pem" --events 3 "https://localhost:$((nginx_port + 1))/ours/events" 2>&1)"
        check "server-sent events through nginx with TLS" "\[1\] .*: event 3$" "$out"
    fi
    if has curl "nginx before our server"; then
        check "nginx as a proxy before our server" "Hello, world!" "$(curl -sS --max-time 10 "$nginx/ours/")"
        curl -sS --max-time 20 --data-binary "@$work/html/large" -H 'Expect:' -o "$work/echo" "$nginx/ours/echo"
        check "an upload through nginx" "^same$" "$(cmp -s "$work/html/large" "$work/echo" && echo same)"
    fi
fi
exit $failed
