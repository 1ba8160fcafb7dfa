-- Licensed under the Apache License, Version 2.0; see LICENSE.
-- The demo's shop. The cart is the session: one attribute per article, "cart.<name>" = number.
-- mod_session hands it over in HTTP_SESSION and takes changes from the header X-Session-Change.

local articles = {
    { id = "apple", name = "Apples", price = 1.20, icon = "&#127822;" },
    { id = "bread", name = "Bread", price = 3.50, icon = "&#127838;" },
    { id = "cheese", name = "Cheese", price = 4.80, icon = "&#129472;" },
    { id = "coffee", name = "Coffee", price = 6.90, icon = "&#9749;" },
}

local colours = { "#2563eb", "#059669", "#d97706", "#7c3aed" }

local function unescape(text)
    return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
        return string.char(tonumber(hex, 16))
    end))
end

local function escape(text)
    return (tostring(text):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
                                             ['"'] = "&quot;" }))
end

local function parse(text)
    local values = {}
    for name, value in (text or ""):gmatch("([^&=]+)=([^&]*)") do
        values[unescape(name)] = unescape(value)
    end
    return values
end

local function cart_of(session)
    local cart = {}
    for _, article in ipairs(articles) do
        cart[article.id] = tonumber(session["cart." .. article.id]) or 0
    end
    return cart
end

-- One change, as the attribute the session should get; nil for nonsense.
local function change(cart, query)
    for _, article in ipairs(articles) do
        if query.add == article.id then
            return "cart." .. article.id .. "=" .. (cart[article.id] + 1)
        elseif query.take == article.id then
            return "cart." .. article.id .. "=" .. math.max(cart[article.id] - 1, 0)
        end
    end
    return nil
end

local style = [[
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #f1f5f9; color: #0f172a }
header { color: #fff; padding: 1.2rem 2rem; display: flex; align-items: baseline; gap: 1rem }
header h1 { font-size: 1.3rem; margin: 0 }
header b { font-size: 2rem }
main { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; display: grid; gap: 1.5rem;
       grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)) }
section { background: #fff; border-radius: 12px; padding: 1.2rem 1.5rem;
          box-shadow: 0 1px 3px #0002 }
h2 { font-size: 1rem; margin: 0 0 .8rem; color: #475569 }
table { width: 100%; border-collapse: collapse }
td { padding: .35rem 0; border-bottom: 1px solid #e2e8f0 }
td:last-child { text-align: right }
button { border: 0; border-radius: 6px; padding: .3rem .8rem; background: #e2e8f0; cursor: pointer }
button:hover { background: #cbd5e1 }
code { background: #f1f5f9; border-radius: 4px; padding: .1rem .3rem; font-size: .85rem;
       word-break: break-all }
p { color: #475569; margin: .8rem 0 0; font-size: .9rem }
]]

local function button(what, article, label)
    return '<button name="' .. what .. '" value="' .. article .. '">' .. label .. "</button>"
end

local function write_page(r, session, cart, env)
    local number = tonumber(env.route:match("%d+")) or 1
    local sum, count, rows = 0, 0, {}

    for _, a in ipairs(articles) do
        local n = cart[a.id]
        sum, count = sum + n * a.price, count + n
        rows[#rows + 1] = string.format(
            "<tr><td>%s %s</td><td>%.2f</td><td>%s <b>%d</b> %s</td></tr>", a.icon, a.name,
            a.price, button("take", a.id, "&minus;"), n, button("add", a.id, "+"))
    end
    r:puts('<!doctype html><html lang="en"><meta charset="utf-8"><title>Shop on ',
           escape(env.route), "</title><style>", style, '</style><header style="background:',
           colours[(number - 1) % #colours + 1], '"><h1>Answered by</h1><b>', escape(env.route),
           "</b><span>", escape(env.role), "</span></header><main><section><h2>Shelf</h2>",
           '<form method="post" action="/"><table>', table.concat(rows), "</table></form><p>",
           string.format("%d articles, %.2f in all", count, sum),
           "</p></section><section><h2>What the session holds</h2><table>")
    local names = {}
    for name in pairs(session) do
        if name ~= "expiry" then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    for _, name in ipairs(names) do
        r:puts("<tr><td><code>", escape(name), "</code></td><td>", escape(session[name]),
               "</td></tr>")
    end
    r:puts("</table>", #names == 0 and "<p>Nothing yet. Put something into the cart.</p>" or "",
           "<p>Kill the node that answers (the console says how), then go on shopping. ",
           'See <a href="/sc-status">what the balancer knows</a>.</p></section></main></html>')
end

function handle(r)
    local session = parse(r.subprocess_env["HTTP_SESSION"])
    local cart = cart_of(session)
    local env = { route = r.subprocess_env["SESSION_CLUSTER_ROUTE"] or "?",
                  role = r.subprocess_env["SESSION_CLUSTER_ROLE"] or "" }

    r.headers_out["Cache-Control"] = "no-store"
    if r.method == "POST" then
        local wanted = change(cart, r:parsebody(4096))
        if wanted == nil then
            return 400
        end
        r.err_headers_out["X-Session-Change"] = wanted
        r.err_headers_out["Location"] = "/"
        return 303
    end
    if r.args == "plain" then -- for the self-test
        r.content_type = "text/plain"
        r:puts("node=", env.route, "\n")
        for _, a in ipairs(articles) do
            r:puts(a.id, "=", cart[a.id], "\n")
        end
        return apache2.OK
    end
    r.content_type = "text/html; charset=utf-8"
    write_page(r, session, cart, env)
    return apache2.OK
end
