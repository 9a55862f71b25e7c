//! A page as a browser's parser understands it.

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// A page that was parsed. Its elements are there for as long as it is.
pub(crate) struct Parsed {
    pub(crate) faults: Vec<String>,
    document: Handle,
}

/// An element of it.
#[derive(Clone)]
pub(crate) struct Element(Handle);

impl Parsed {
    pub(crate) fn of(page: &str) -> Self {
        let dom = parse_document(RcDom::default(), ParseOpts::default()).one(page);
        let faults = dom.errors.borrow().iter().map(ToString::to_string).collect();
        Self { faults, document: dom.document }
    }

    /// All elements, in the order of the page.
    pub(crate) fn elements(&self) -> Vec<Element> {
        Element(self.document.clone()).within()
    }

    /// The elements with that tag.
    pub(crate) fn tagged(&self, tag: &str) -> Vec<Element> {
        self.elements().into_iter().filter(|element| element.tag() == tag).collect()
    }

    /// The section with that id.
    pub(crate) fn section(&self, id: &str) -> Option<Element> {
        self.elements()
            .into_iter()
            .find(|element| element.tag() == "section" && element.attribute("id").as_deref() == Some(id))
    }
}

impl Element {
    pub(crate) fn tag(&self) -> String {
        match &self.0.data {
            NodeData::Element { name, .. } => name.local.to_string(),
            _ => String::new(),
        }
    }

    pub(crate) fn attributes(&self) -> Vec<(String, String)> {
        let NodeData::Element { attrs, .. } = &self.0.data else { return Vec::new() };
        attrs.borrow().iter().map(|attr| (attr.name.local.to_string(), attr.value.to_string())).collect()
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        self.attributes().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// All elements in it, in order.
    pub(crate) fn within(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for child in self.0.children.borrow().iter() {
            let child = Self(child.clone());
            let inner = child.within();
            if !child.tag().is_empty() {
                found.push(child);
            }
            found.extend(inner);
        }
        found
    }

    pub(crate) fn tagged(&self, tag: &str) -> Vec<Self> {
        self.within().into_iter().filter(|element| element.tag() == tag).collect()
    }

    /// All text in it, with plain spaces.
    pub(crate) fn text(&self) -> String {
        let own = match &self.0.data {
            NodeData::Text { contents } => contents.borrow().to_string(),
            _ => String::new(),
        };
        let inner =
            self.0.children.borrow().iter().map(|child| Self(child.clone()).text()).collect::<String>();
        (own + &inner).replace('\u{a0}', " ")
    }

    /// The texts of the cells of each row.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let cells = |row: Self| {
            row.within()
                .into_iter()
                .filter(|cell| ["td", "th"].contains(&cell.tag().as_str()))
                .map(|cell| cell.text())
                .collect()
        };
        self.tagged("tr").into_iter().map(cells).collect()
    }
}
