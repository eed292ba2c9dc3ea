-- What Quarto understands and pandoc alone does not: callouts, folded code, numbered references.
local words = {fig = "Figure", tbl = "Table", eq = "Equation", sec = "Section", lst = "Listing"}
local counted, number, titles = {}, {}, {}
local stringify = pandoc.utils.stringify
local function raw(text) return pandoc.RawBlock("html", text) end
local function kind(id) return id and id:match("^(%a+)%-") end

local function count(id, given)
  local k = kind(id)
  counted[k] = (counted[k] or 0) + 1
  number[id] = given or tostring(counted[k])
end

-- A number that the author gave the equation stands at its end: \qquad (8)
local function own_number(text)
  local rest, n = text:match("^(.-)%s*\\qquad%s*%(([%w%.%-']+)%)%s*$")
  if rest then return rest, n end
  return text, nil
end

local function equation(para)
  local math, id, anchor
  for _, part in ipairs(para.content) do
    if part.t == "Span" and #part.content == 0 and not math then anchor = part.identifier
    elseif part.t == "Math" and part.mathtype == "DisplayMath" and not math then math = part
    elseif part.t == "Str" and part.text:match("^{#eq%-[%w%-]+}$") then id = part.text:match("#([%w%-]+)")
    elseif part.t ~= "Space" and part.t ~= "SoftBreak" then return nil end
  end
  if math then return math, id, anchor end
end

local function caption_block(id, inlines)
  local head = pandoc.Span({pandoc.Str(words[kind(id)] .. "\u{a0}" .. number[id])}, {class = "exhibit-name"})
  local out = pandoc.List({head})
  if #inlines > 0 then out:insert(pandoc.Space()); out:extend(inlines) end
  return pandoc.Plain(out)
end

-- First pass, in the order of the document: give out the numbers.
local collect = {
  traverse = "topdown",
  Header = function(h) if kind(h.identifier) == "sec" then titles[h.identifier] = stringify(h.content) end end,
  Figure = function(f) if kind(f.identifier) == "fig" then count(f.identifier) end end,
  Div = function(d) local k = kind(d.identifier) if k == "fig" or k == "tbl" or k == "lst" then count(d.identifier) end end,
  Table = function(t)
    local id = t.identifier
    if id == "" then id = stringify(t.caption.long):match("{#(tbl%-[%w%-]+)}%s*$") or "" end
    if kind(id) == "tbl" then count(id) end
  end,
  Para = function(p)
    local math, id = equation(p)
    if math and id then local _, given = own_number(math.text); count(id, given) end
  end,
}

local function callout(div)
  local which
  for _, class in ipairs(div.classes) do which = which or class:match("^callout%-(%a+)$") end
  if not which then return nil end
  local title, content = div.attributes.title, div.content
  if not title and content[1] and content[1].t == "Header" then title = stringify(content[1].content); content:remove(1) end
  title = (title or (which:sub(1, 1):upper() .. which:sub(2))):gsub("&", "&amp;"):gsub("<", "&lt;")
  local folds = div.attributes.collapse
  local out = pandoc.List()
  if folds then
    out:insert(raw('<details class="' .. (div.classes:includes("part") and "part" or "callout callout-" .. which) .. '"' .. (folds == "false" and " open" or "") .. '><summary class="callout-title">' .. title .. "</summary>"))
  else out:insert(raw('<aside class="callout callout-' .. which .. '"><p class="callout-title">' .. title .. "</p>")) end
  out:extend(content)
  out:insert(raw(folds and "</details>" or "</aside>"))
  return out
end

local function numbered_div(div)
  local k = kind(div.identifier)
  if k ~= "fig" and k ~= "tbl" and k ~= "lst" then return nil end
  local content, caption = div.content, {}
  local last = content[#content]
  if last and (last.t == "Para" or last.t == "Plain") and #content > 1 then caption = last.content; content:remove(#content) end
  local out = pandoc.List({raw('<figure class="exhibit numbered-' .. k .. '" id="' .. div.identifier .. '">')})
  out:extend(content)
  out:extend({raw("<figcaption>"), caption_block(div.identifier, caption), raw("</figcaption></figure>")})
  return out
end

local change = {
  Div = function(div) return callout(div) or numbered_div(div) end,
  Figure = function(f)
    if kind(f.identifier) == "fig" then
      local text = f.caption.long[1] and f.caption.long[1].content or {}
      f.caption.long = {caption_block(f.identifier, text)}
      return f
    end
  end,
  Table = function(t)
    local id = t.identifier
    local blocks = t.caption.long
    if id == "" and #blocks > 0 then
      id = stringify(blocks):match("{#(tbl%-[%w%-]+)}%s*$") or ""
      if id ~= "" then
        local inlines = blocks[#blocks].content
        while #inlines > 0 and not stringify(inlines[#inlines]):match("^{#tbl") do inlines:remove(#inlines) end
        inlines:remove(#inlines)
      end
    end
    if kind(id) == "tbl" then
      t.identifier = id
      t.caption.long = {caption_block(id, blocks[1] and blocks[1].content or {})}
    end
    return {raw('<div class="paper-kit-scroll" tabindex="0" role="region" aria-label="table">'), t, raw("</div>")}
  end,
  Para = function(p)
    local math, id, anchor = equation(p)
    if not math then return nil end
    local text, given = own_number(math.text)
    local shown = given or (id and number[id])
    if not shown then return nil end
    math.text, id = text, id or anchor
    return {raw('<div class="equation"' .. (id and ' id="' .. id .. '"' or "") .. ">"), pandoc.Plain({math}), raw('<span class="equation-number">(' .. shown .. ")</span></div>")}
  end,
  CodeBlock = function(code)
    local fold = code.attributes["code-fold"]
    if not fold or fold == "false" then return nil end
    local summary = (code.attributes["code-summary"] or "Code"):gsub("&", "&amp;"):gsub("<", "&lt;")
    code.attributes = {}
    return {raw('<details class="code-fold"' .. (fold == "show" and " open" or "") .. "><summary>" .. summary .. "</summary>"), code, raw("</details>")}
  end,
  Cite = function(cite)
    local out = pandoc.List()
    for i, c in ipairs(cite.citations) do
      local id = c.id
      local word = words[kind(id) or ""]
      if not word then return nil end
      local text = number[id] and (word .. "\u{a0}" .. number[id]) or (titles[id] and ("“" .. titles[id] .. "”"))
      if i > 1 then out:insert(pandoc.Str(", ")) end
      out:insert(text and pandoc.Link(text, "#" .. id, "", {class = "crossref"}) or pandoc.Strong({pandoc.Str("?" .. id)}))
    end
    return out
  end,
}

function Pandoc(doc)
  doc.blocks:walk(collect)
  doc.blocks = doc.blocks:walk(change)
  return doc
end
