//! Generated events of every type: what is read of one is written byte for byte as it was, in logs of
//! old and new servers, with checksums and without.

use proptest::prelude::*;
use rejoin::Limits;
use rejoin::binlog::{ChecksumAlgorithm, Event, EventHeader, EventType, StatusVariable};
use rejoin::gtid::{Encoding, Gtid, GtidSet, Tag, Tsid, Uuid};

use super::compose::{event, format, rotate};

type Body = BoxedStrategy<(EventType, Vec<u8>)>;

fn bytes(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), range)
}

/// `length` in `size` bytes, then the bytes.
fn counted(size: usize, bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..size], bytes].concat()
}

fn of<S: Strategy<Value = Vec<u8>> + 'static>(event_type: EventType, body: S) -> Body {
    body.prop_map(move |body| (event_type, body)).boxed()
}

/// A table or database, with its length and its NUL.
fn name() -> impl Strategy<Value = Vec<u8>> {
    bytes(0..65).prop_map(|name| [&counted(1, &name)[..], &[0]].concat())
}

/// Every status variable with some value, a few of them at a time, in the order of their codes.
fn status() -> impl Strategy<Value = Vec<u8>> {
    let text = || bytes(0..20).prop_map(|text| counted(1, &text));
    let fixed = |size: usize| prop::collection::vec(any::<u8>(), size);
    let names = prop::collection::vec("[a-z]{1,9}", 1..5).prop_map(|names| {
        let mut list = vec![names.len() as u8];
        names
            .iter()
            .for_each(|name| list.extend([name.as_bytes(), &[0]].concat()));
        list
    });
    let invoker = (text(), text()).prop_map(|(user, host)| [user, host].concat());
    let values: Vec<(u8, BoxedStrategy<Vec<u8>>)> = vec![
        (0, fixed(4).boxed()),
        (1, fixed(8).boxed()),
        (
            2,
            bytes(1..9)
                .prop_map(|name| [&counted(1, &name)[..], &[0]].concat())
                .boxed(),
        ),
        (3, fixed(4).boxed()),
        (4, fixed(6).boxed()),
        (5, text().boxed()),
        (6, text().boxed()),
        (7, fixed(2).boxed()),
        (8, fixed(2).boxed()),
        (9, fixed(8).boxed()),
        (10, fixed(4).boxed()),
        (11, invoker.boxed()),
        (12, prop_oneof![names, Just(vec![254])].boxed()),
        (13, fixed(3).boxed()),
        (16, fixed(1).boxed()),
        (17, fixed(8).boxed()),
        (18, fixed(2).boxed()),
        (19, fixed(1).boxed()),
        (20, fixed(1).boxed()),
        (21, fixed(1).boxed()),
    ];
    let values: Vec<_> = values
        .into_iter()
        .map(|(code, value)| {
            let value = value.prop_map(move |value| [&[code], &value[..]].concat());
            prop::option::of(value)
        })
        .collect();
    values.prop_map(|values| values.into_iter().flatten().flatten().collect())
}

/// Fixed part and body of a statement; `more` goes behind the fixed part.
fn query(more: Vec<u8>, statement: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (
        any::<[u8; 8]>(),
        any::<u16>(),
        status(),
        bytes(0..65),
        statement,
    )
        .prop_map(move |(head, error, status, database, statement)| {
            let mut body = head.to_vec();
            body.push(database.len() as u8);
            body.extend(error.to_le_bytes());
            body.extend((status.len() as u16).to_le_bytes());
            body.extend(&more);
            body.extend(status);
            body.extend(database);
            body.push(0);
            body.extend(statement);
            body
        })
}

fn gtid_sets() -> impl Strategy<Value = GtidSet> {
    let gtid = (0u8..3, "[a-z]{0,2}", 1u64..30).prop_map(|(uuid, tag, gno)| Gtid {
        tsid: Tsid {
            uuid: Uuid([uuid; 16]),
            tag: Tag::new(tag.as_bytes()).unwrap_or(Tag::NONE),
        },
        gno,
    });
    prop::collection::vec(gtid, 0..40).prop_map(|gtids| {
        let mut set = GtidSet::new();
        for gtid in &gtids {
            set.insert(gtid);
        }
        set
    })
}

fn rows(event_type: EventType) -> Body {
    let bitmaps = match event_type {
        EventType::UPDATE_ROWS | EventType::UPDATE_ROWS_V1 | EventType::PARTIAL_UPDATE_ROWS => 2,
        _ => 1,
    };
    let has_extra = event_type.0 >= EventType::WRITE_ROWS.0;
    let body = (
        any::<[u8; 8]>(),
        bytes(0..12),
        1u8..200,
        any::<u8>(),
        bytes(0..60),
    )
        .prop_map(move |(head, extra, width, bits, images)| {
            let mut body = head.to_vec();
            if has_extra {
                body.extend((extra.len() as u16 + 2).to_le_bytes());
                body.extend(extra);
            }
            body.push(width);
            body.extend(vec![bits; bitmaps * usize::from(width).div_ceil(8)]);
            body.extend(images);
            body
        });
    of(event_type, body)
}

/// Bodies of the types that stand in logs of every version since 5.6, and of the newer ones.
fn bodies() -> impl Strategy<Value = (EventType, Vec<u8>)> {
    let set = gtid_sets().prop_map(|set| {
        let mut body = Vec::new();
        set.encode(Encoding::Shortest, &mut body);
        body
    });
    let heartbeat = ("[a-z]{1,9}", any::<u64>()).prop_map(|(file, position)| {
        let position = [&[0xfe][..], &position.to_le_bytes()].concat();
        [
            &[1][..],
            &counted(1, file.as_bytes()),
            &[2],
            &counted(1, &position),
            &[0],
        ]
        .concat()
    });
    let xa = (0u8..2, any::<[u8; 4]>(), bytes(0..65), bytes(0..65)).prop_map(
        |(one_phase, format, gtrid, bqual)| {
            let lengths = [
                counted(4, &gtrid)[..4].to_vec(),
                counted(4, &bqual)[..4].to_vec(),
            ];
            [&[one_phase][..], &format, &lengths.concat(), &gtrid, &bqual].concat()
        },
    );
    let map = (any::<[u8; 8]>(), name(), name(), bytes(1..40), bytes(0..9)).prop_map(
        |(head, database, table, types, optional)| {
            let metadata = vec![7; types.len()];
            let nulls = vec![0x55; types.len().div_ceil(8)];
            let types = counted(1, &types);
            [
                &head[..],
                &database,
                &table,
                &types,
                &counted(1, &metadata),
                &nulls,
                &optional,
            ]
            .concat()
        },
    );
    let payload = bytes(0..50).prop_map(|payload| {
        let none = [2, 3, 0xfc, 255, 0];
        [&none[..], &[1, 1, payload.len() as u8, 0], &payload].concat()
    });
    let number = (any::<u8>(), any::<u64>())
        .prop_map(|(kind, value)| [&[kind][..], &value.to_le_bytes()].concat());
    let null = bytes(1..65).prop_map(|name| [&counted(4, &name)[..], &[1]].concat());
    let variable = (
        bytes(1..65),
        0u8..3,
        any::<[u8; 4]>(),
        bytes(8..20),
        prop::option::of(0u8..2),
    )
        .prop_map(|(name, kind, collation, value, flags)| {
            let mut body = [
                &counted(4, &name)[..],
                &[0, kind],
                &collation,
                &counted(4, &value),
            ]
            .concat();
            body.extend(flags);
            body
        });
    let block = (any::<[u8; 4]>(), bytes(0..60))
        .prop_map(|(id, block)| [&id[..], &block].concat())
        .boxed();
    let load = (0u8..10, 10u8..20, 0u8..3).prop_flat_map(|(start, end, duplicates)| {
        let place = [9, 0, 0, 0, start, 0, 0, 0, end, 0, 0, 0, duplicates];
        query(place.to_vec(), bytes(20..60).boxed())
    });
    let view = (
        "[0-9]{1,20}:[0-9]{1,9}",
        any::<u64>(),
        prop::collection::vec((bytes(0..9), bytes(0..9)), 0..4),
    )
        .prop_map(|(id, number, items)| {
            let mut body = id.into_bytes();
            body.resize(40, 0);
            body.extend(number.to_le_bytes());
            body.extend((items.len() as u32).to_le_bytes());
            for (key, value) in items {
                body.extend([counted(2, &key), counted(4, &value)].concat());
            }
            body
        });
    let context = (
        bytes(0..40),
        any::<[u8; 4]>(),
        any::<u8>(),
        prop::collection::vec(bytes(0..9), 0..5),
    )
        .prop_map(|(uuid, thread, flag, items)| {
            let mut body = [&[uuid.len() as u8][..], &thread, &[flag]].concat();
            let read = items.len() as u32 / 2;
            for number in [8, items.len() as u32 - read, read] {
                body.extend(number.to_le_bytes());
            }
            body.extend(uuid);
            body.extend([0; 8]);
            items.iter().for_each(|item| body.extend(counted(2, item)));
            body
        });
    let types = vec![
        of(EventType::QUERY, query(Vec::new(), bytes(0..60).boxed())),
        of(EventType::STOP, Just(Vec::new())),
        of(
            EventType::ROTATE,
            ("[a-z]{1,99}", any::<u64>()).prop_map(|(file, at)| rotate(&file, at)),
        ),
        of(EventType::INTVAR, number),
        of(EventType::APPEND_BLOCK, block.clone()),
        of(
            EventType::DELETE_FILE,
            (1u32..).prop_map(|id| id.to_le_bytes().to_vec()),
        ),
        of(EventType::RAND, prop::collection::vec(any::<u8>(), 16)),
        of(EventType::USER_VAR, prop_oneof![null, variable]),
        of(EventType::XID, prop::collection::vec(any::<u8>(), 8)),
        of(EventType::BEGIN_LOAD_QUERY, block),
        of(EventType::EXECUTE_LOAD_QUERY, load),
        of(EventType::TABLE_MAP, map),
        of(
            EventType::INCIDENT,
            bytes(0..90).prop_map(|text| [&[1, 0][..], &counted(1, &text)].concat()),
        ),
        of(
            EventType::HEARTBEAT,
            "[a-z]{1,99}".prop_map(String::into_bytes),
        ),
        of(EventType::HEARTBEAT_V2, heartbeat),
        of(EventType::IGNORABLE, bytes(0..60)),
        of(EventType::ROWS_QUERY, bytes(1..60)),
        of(EventType::PREVIOUS_GTIDS, set),
        of(EventType::TRANSACTION_CONTEXT, context),
        of(EventType::VIEW_CHANGE, view),
        of(EventType::XA_PREPARE, xa),
        of(EventType::TRANSACTION_PAYLOAD, payload),
        of(EventType(99), bytes(0..60)),
        rows(EventType::WRITE_ROWS_V1),
        rows(EventType::UPDATE_ROWS_V1),
        rows(EventType::DELETE_ROWS_V1),
        rows(EventType::WRITE_ROWS),
        rows(EventType::UPDATE_ROWS),
        rows(EventType::DELETE_ROWS),
        rows(EventType::PARTIAL_UPDATE_ROWS),
    ];
    prop::strategy::Union::new(types)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..Default::default() })]

    #[test]
    fn every_type_is_written_as_it_was_read(
        (event_type, body) in bodies(),
        version in prop::sample::select(vec!["5.6.41-log", "5.7.25", "8.0.40", "9.7.4"]),
        has_checksum in any::<bool>(),
    ) {
        let checksum = if has_checksum { ChecksumAlgorithm::Crc32 } else { ChecksumAlgorithm::None };
        let format = format(version, checksum);
        let flags = match event_type {
            EventType::IGNORABLE | EventType::ROWS_QUERY | EventType(99) => EventHeader::IGNORABLE,
            _ => 0,
        };
        let original = event(event_type, flags, &body, checksum);
        let header = EventHeader::decode(&original).unwrap();
        let decoded = Event::decode(&format, format.verify(&original).unwrap()).unwrap();
        prop_assert_eq!(decoded.event_type(), event_type);
        let mut written = Vec::new();
        decoded.encode(&format, &header, &mut written);
        prop_assert_eq!(&written, &original, "{:?}", decoded);
    }

    #[test]
    fn status_variables_are_read_to_their_end(body in query(Vec::new(), Just(b"x".to_vec()).boxed())) {
        let format = format("9.7.4", ChecksumAlgorithm::None);
        let event = event(EventType::QUERY, 0, &body, ChecksumAlgorithm::None);
        let Event::Query(query) = Event::decode(&format, &event).unwrap() else {
            panic!("a query");
        };
        prop_assert_eq!(query.statement, b"x");
        let variables: Vec<StatusVariable<'_>> = query.status().collect::<rejoin::Result<_>>().unwrap();
        // Each has at least a code and a byte.
        prop_assert!(2 * variables.len() <= query.status_bytes.len());
        prop_assert_eq!(variables.is_empty(), query.status_bytes.is_empty());
    }

    #[test]
    fn gtid_sets_round_trip_in_every_version(set in gtid_sets()) {
        for encoding in [Encoding::Tagged, Encoding::Compact, Encoding::Shortest] {
            let mut bytes = Vec::new();
            set.encode(encoding, &mut bytes);
            prop_assert_eq!(&GtidSet::decode(&bytes, &Limits::default()).unwrap(), &set);
        }
        prop_assert_eq!(&set.to_string().parse::<GtidSet>().unwrap(), &set);
    }
}
