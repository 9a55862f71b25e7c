//! Configuration in layers: defaults, a file, the environment, flags. Each layer overrides the ones before.
//!
//! Every setting of a service has a path such as `agent_timeout` or `nats.url`. In a TOML or YAML file it is a key; in
//! the environment it is `ALLOT_AGENT_TIMEOUT` for every service that has it, or `ALLOT_REGISTRY_AGENT_TIMEOUT` for the
//! registry alone; as a flag it is `--set agent_timeout=30s`.

use std::path::PathBuf;

use config::{File, Map, Source, Value, ValueKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::nats_config::NatsConfig;

/// Where the shell's own settings stand beside the service's.
const NATS: &str = "nats";
/// Settings of one service that begin with the name of another.
const OF_OTHERS: &[&str] = &["ALLOT_AGENT_TIMEOUT"];
/// On how many servers a stream may be kept.
const POSSIBLE_REPLICAS: [usize; 3] = [1, 3, 5];
/// The address of NATS among them.
const NATS_URL: &str = "nats.url";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A `--set` flag is not an assignment.
    #[error(
        "--set {given:?} is not an assignment: write `--set key=value`, such as `--set nats.url=nats://host:4222`"
    )]
    Assignment {
        /// The flag as given.
        given: String,
    },
    /// A key names a place in a list.
    #[error("{given:?} is not a setting: a list is set as a whole, such as `tags = [\"a\", \"b\"]`")]
    Place {
        /// The key as given.
        given: String,
    },
    /// The file cannot be read, or a setting is not known or has a value that it cannot have.
    #[error("the configuration cannot be used")]
    Invalid(#[from] config::ConfigError),
    /// NATS keeps no stream on so many servers that could outvote the rest.
    #[error("nats.replicas = {given} is not possible: each stream is kept on 1, 3 or 5 servers")]
    Replicas {
        /// The number as given.
        given: usize,
    },
    /// The defaults cannot be written down, which is a mistake in the program.
    #[error("the defaults of the configuration cannot be written down")]
    Defaults(#[from] serde_json::Error),
}

/// Where settings come from, beside the defaults.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// A TOML or YAML file.
    pub file: Option<PathBuf>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Assignments such as `agent_timeout=30s`.
    pub set: Vec<String>,
}

impl Layers {
    /// A file and assignments, with the environment of this process.
    #[must_use]
    pub fn new(file: Option<PathBuf>, set: Vec<String>) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { file, environment: std::env::vars_os().filter_map(text).collect(), set }
    }
}

/// A configuration: how to reach NATS, and the service's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<C> {
    /// How to reach NATS.
    pub nats: NatsConfig,
    /// The service's own settings.
    pub service: C,
    /// Variables of the environment that begin with the service's name and are no settings of it.
    pub unknown: Vec<String>,
}

/// Reads the configuration of the service of this name (`registry`, `allocator-drf`).
///
/// # Errors
/// [`ConfigError`] for a file that cannot be read, a key that is not known, a value of another type.
pub fn load<C>(service: &str, layers: &Layers) -> Result<Loaded<C>, ConfigError>
where
    C: Serialize + DeserializeOwned + Default,
{
    let defaults = defaults::<C>()?;
    let mut builder = config::Config::builder().add_source(Layer::of(&defaults));
    if let Some(path) = &layers.file {
        let layer = Layer(File::from(path.as_path()).collect()?);
        layer.0.keys().try_for_each(|key| is_plain(key))?;
        builder = builder.add_source(layer);
    }
    for (path, text) in from_environment(service, &defaults, &layers.environment) {
        builder = builder.add_source(Layer::assign(&path, "the environment", text));
    }
    for given in &layers.set {
        let (path, text) =
            given.split_once('=').ok_or_else(|| ConfigError::Assignment { given: given.clone() })?;
        is_plain(path)?;
        builder = builder.add_source(Layer::assign(path.trim(), "--set", text.trim()));
    }
    let mut settings = builder.build()?.cache.into_table()?;
    let nats = settings.remove(NATS).unwrap_or_else(|| Value::new(None, Map::<String, Value>::new()));
    let nats: NatsConfig = nats.try_deserialize()?;
    if !POSSIBLE_REPLICAS.contains(&nats.replicas) {
        return Err(ConfigError::Replicas { given: nats.replicas });
    }
    Ok(Loaded {
        nats,
        service: Value::new(None, settings).try_deserialize()?,
        unknown: unknown(service, &defaults, &layers.environment),
    })
}

/// A list with a place far beyond its end would be made that long.
fn is_plain(key: &str) -> Result<(), ConfigError> {
    if key.contains('[') { Err(ConfigError::Place { given: key.to_owned() }) } else { Ok(()) }
}

/// The settings in words, for the log.
#[must_use]
pub fn describe<C: Serialize>(loaded: &Loaded<C>) -> String {
    serde_json::json!({ NATS: loaded.nats, "service": loaded.service }).to_string()
}

/// All settings with their default values.
fn defaults<C: Serialize + Default>() -> Result<Json, ConfigError> {
    let mut all = serde_json::to_value(C::default())?;
    if let Json::Object(settings) = &mut all {
        settings.insert(NATS.to_owned(), serde_json::to_value(NatsConfig::default())?);
    }
    Ok(all)
}

/// What the environment says about the settings that there are, the more general names first.
fn from_environment<'a>(
    service: &str,
    defaults: &Json,
    environment: &'a [(String, String)],
) -> Vec<(String, &'a str)> {
    let mut found = Vec::new();
    for prefix in ["ALLOT".to_owned(), format!("ALLOT_{}", shout(service))] {
        for path in paths(defaults) {
            let name = format!("{prefix}_{}", shout(&path));
            let value = environment.iter().find(|(given, _)| *given == name);
            // What the command line calls so is the address.
            let is_address = path == NATS && value.is_some_and(|(_, text)| !text.starts_with('{'));
            let path = if is_address { NATS_URL.to_owned() } else { path };
            found.extend(value.map(|(_, text)| (path, text.as_str())));
        }
    }
    found
}

/// The variables that begin with the name of the service, as if they were settings of it, and are none.
fn unknown(service: &str, defaults: &Json, environment: &[(String, String)]) -> Vec<String> {
    let prefix = format!("ALLOT_{}_", shout(service));
    let known: Vec<String> = paths(defaults).iter().map(|path| format!("{prefix}{}", shout(path))).collect();
    let is_unknown = |name: &&String| {
        name.starts_with(&prefix) && !known.contains(name) && !OF_OTHERS.contains(&name.as_str())
    };
    environment.iter().map(|(name, _)| name).filter(is_unknown).cloned().collect()
}

/// The name as it stands in an environment variable.
fn shout(name: &str) -> String {
    name.replace(['.', '-'], "_").to_ascii_uppercase()
}

/// The paths of all settings, tables before what is in them.
fn paths(settings: &Json) -> Vec<String> {
    let Json::Object(table) = settings else { return Vec::new() };
    let below = |(key, value): (&String, &Json)| {
        let inner = paths(value).into_iter().map(|path| format!("{key}.{path}")).collect::<Vec<_>>();
        std::iter::once(key.clone()).chain(inner).collect::<Vec<_>>()
    };
    table.iter().flat_map(below).collect()
}

/// One layer of settings.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Layer {
    fn of(settings: &Json) -> Self {
        match value(settings, None) {
            Value { kind: ValueKind::Table(table), .. } => Self(table),
            _ => Self(Map::new()),
        }
    }

    /// One setting. Lists and tables are written as in TOML or JSON, all else as it is.
    fn assign(path: &str, origin: &str, text: &str) -> Self {
        let listed = text.starts_with(['[', '{']).then(|| inline(text)).flatten();
        let json = listed.unwrap_or_else(|| Json::String(text.to_owned()));
        Self(Map::from_iter([(path.to_owned(), value(&json, Some(&origin.to_owned())))]))
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// A list or table written in one line.
fn inline(text: &str) -> Option<Json> {
    let toml = || toml::from_str::<Json>(&format!("value = {text}")).ok()?.get("value").cloned();
    serde_json::from_str(text).ok().or_else(toml)
}

fn value(json: &Json, origin: Option<&String>) -> Value {
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(bool) => ValueKind::Boolean(*bool),
        Json::Number(number) => number_kind(number),
        Json::String(text) => ValueKind::String(text.clone()),
        Json::Array(items) => ValueKind::Array(items.iter().map(|item| value(item, origin)).collect()),
        Json::Object(table) => {
            ValueKind::Table(table.iter().map(|(key, inner)| (key.clone(), value(inner, origin))).collect())
        }
    };
    Value::new(origin, kind)
}

fn number_kind(number: &serde_json::Number) -> ValueKind {
    let whole = number.as_i64().map(ValueKind::I64).or_else(|| number.as_u64().map(ValueKind::U64));
    whole.or_else(|| number.as_f64().map(ValueKind::Float)).unwrap_or(ValueKind::Nil)
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::Span;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;
    use std::error::Error;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        agent_timeout: Span,
        limit: u32,
        name: Option<String>,
        attributes: BTreeMap<String, String>,
        tags: Vec<String>,
        inner: Inner,
    }

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        depth: u64,
        verbose: bool,
    }

    impl Default for Settings {
        fn default() -> Self {
            Self {
                agent_timeout: Span::from_secs(15),
                limit: 7,
                name: None,
                attributes: BTreeMap::new(),
                tags: Vec::new(),
                inner: Inner::default(),
            }
        }
    }

    #[test]
    fn streams_are_kept_on_as_many_servers_as_have_a_majority() {
        let replicas = |number: usize| with(&[], &[&format!("nats.replicas={number}")]);
        assert_eq!(replicas(3).unwrap().nats.replicas, 3);
        for number in [0, 2, 4, 7] {
            let error = replicas(number).unwrap_err().to_string();
            assert!(
                error.contains(&format!("nats.replicas = {number}")) && error.contains("1, 3 or 5"),
                "{error}"
            );
        }
    }

    fn with(environment: &[(&str, &str)], set: &[&str]) -> Result<Loaded<Settings>, ConfigError> {
        let environment = environment.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        load("registry", &Layers { file: None, environment, set: set.iter().map(|s| (*s).into()).collect() })
    }

    /// The error and all its causes.
    fn refused(set: &[&str]) -> String {
        let error = with(&[], set).unwrap_err();
        format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default())
    }

    #[test]
    fn without_any_layer_the_defaults_hold() {
        let loaded = with(&[], &[]).unwrap();
        assert_eq!((loaded.service, loaded.nats), (Settings::default(), NatsConfig::default()));
    }

    #[test]
    fn each_layer_overrides_the_ones_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.toml");
        std::fs::write(
            &path,
            "agent_timeout = '1s'\nlimit = 1\ntags = ['file']\n[inner]\ndepth = 1\n[nats]\nreplicas = 3",
        )
        .unwrap();
        let environment = vec![("ALLOT_LIMIT".into(), "2".into()), ("ALLOT_INNER_DEPTH".into(), "2".into())];
        let set = vec!["inner.depth=3".into(), "inner.verbose=true".into()];
        let loaded: Loaded<Settings> =
            load("registry", &Layers { file: Some(path), environment, set }).unwrap();
        let service = loaded.service;
        assert_eq!(loaded.nats.replicas, 3);
        assert_eq!((service.agent_timeout, service.limit), (Span::from_secs(1), 2));
        assert_eq!(service.inner, Inner { depth: 3, verbose: true });
        assert_eq!(service.tags, ["file"]);
    }

    #[test]
    fn a_yaml_file_says_the_same_as_a_toml_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.yaml");
        std::fs::write(&path, "agent_timeout: 1s\nattributes:\n  Zone: B\n").unwrap();
        let loaded: Loaded<Settings> =
            load("registry", &Layers { file: Some(path), ..Layers::default() }).unwrap();
        assert_eq!(loaded.service.agent_timeout, Span::from_secs(1));
        assert_eq!(loaded.service.attributes["Zone"], "B");
    }

    #[test]
    fn the_name_of_the_service_makes_an_environment_variable_more_specific() {
        let environment = [("ALLOT_REGISTRY_LIMIT", "2"), ("ALLOT_LIMIT", "1"), ("ALLOT_OFFERS_LIMIT", "3")];
        assert_eq!(with(&environment, &[]).unwrap().service.limit, 2);
    }

    #[test]
    fn variables_of_other_services_do_no_harm() {
        let loaded = with(&[("ALLOT_POLICY", "drf"), ("ALLOT_OFFERS_IMAGE", "x")], &[]).unwrap();
        assert!(loaded.unknown.is_empty());
    }

    #[test]
    fn a_variable_that_looks_like_a_setting_and_is_none_is_told() {
        let loaded =
            with(&[("ALLOT_REGISTRY_AGENT_TIMEOT", "3s"), ("ALLOT_REGISTRY_LIMIT", "3")], &[]).unwrap();
        assert_eq!(
            (loaded.unknown.as_slice(), loaded.service.limit),
            (&["ALLOT_REGISTRY_AGENT_TIMEOT".to_owned()][..], 3)
        );
    }

    #[test]
    fn the_address_may_have_the_name_that_it_has_for_the_command_line() {
        let general = ("ALLOT_NATS", "nats://general:1");
        assert_eq!(with(&[general], &[]).unwrap().nats.url, "nats://general:1");
        let own = ("ALLOT_NATS_URL", "nats://own:1");
        assert_eq!(with(&[own, general], &[]).unwrap().nats.url, "nats://own:1");
    }

    #[test]
    fn values_are_written_as_people_write_them() {
        let set = [
            "agent_timeout=1h30m",
            "name=123",
            "attributes={zone = \"b\"}",
            "tags=[\"a\",\"b\"]",
            "inner.verbose=true",
        ];
        let service = with(&[("ALLOT_NATS_URL", "nats://n:1")], &set).unwrap().service;
        assert_eq!(service.agent_timeout, Span::from_secs(5_400));
        assert_eq!(service.name.as_deref(), Some("123"));
        assert_eq!((service.attributes["zone"].as_str(), service.tags.len()), ("b", 2));
        let set = ["attributes.zone=c", "agent_timeout=10"];
        let service = with(&[], &set).unwrap().service;
        assert_eq!((service.attributes["zone"].as_str(), service.agent_timeout), ("c", Span::from_secs(10)));
    }

    #[test]
    fn an_unknown_key_is_refused_with_those_that_are_known() {
        let error = refused(&["agent_timout=1s"]);
        assert!(error.contains("agent_timout") && error.contains("agent_timeout"), "{error}");
        assert!(refused(&["nats.urk=x"]).contains("urk"));
    }

    #[test]
    fn a_place_in_a_list_is_no_setting() {
        assert!(refused(&["tags[99999999999]=x"]).contains("a list is set as a whole"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.toml");
        std::fs::write(&path, "'tags[99999999999]' = 'x'").unwrap();
        let error =
            load::<Settings>("registry", &Layers { file: Some(path), ..Layers::default() }).unwrap_err();
        assert!(error.to_string().contains("a list is set as a whole"), "{error}");
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_by_name() {
        assert!(refused(&["limit=many"]).contains("many"));
        assert!(refused(&["agent_timeout=soon"]).contains("soon"));
        assert!(refused(&["limit"]).contains("key=value"));
    }

    proptest! {
        #[test]
        fn any_assignment_is_taken_or_refused(
            path in "(agent_timeout|limit|name|attributes|tags|inner|inner.depth|nats.url|\\PC{0,8})(\\.[a-z]{0,4}|\\[[0-9]{0,20}\\]?)?",
            value in "\\PC{0,12}|[\\[{][\"a-z0-9,:={}\\[\\] .]{0,20}|-?[0-9]{1,25}",
        ) {
            if let Err(error) = with(&[("ALLOT_LIMIT", &value)], &[&format!("{path}={value}")]) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn any_file_is_taken_or_refused(text in "([a-z_]{1,8} ?[:=] ?[\"'\\[{]?[a-z0-9.-]{0,6}[\"'\\]}]?\n){0,4}|\\PC{0,30}") {
            let dir = tempfile::tempdir().unwrap();
            for name in ["c.toml", "c.yaml"] {
                let path = dir.path().join(name);
                std::fs::write(&path, &text).unwrap();
                let _ = load::<Settings>("registry", &Layers { file: Some(path), ..Layers::default() });
            }
        }
    }
}
