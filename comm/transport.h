// What a backend fills: single messages between two ranks. Communicator builds everything else on it, once
// for all backends: matching, deadlines, limits, counters, error messages.
//
// A message is named by (peer, sequence). The sender calls send(); the receiver gets kAnnounced with the
// size, decides, calls accept() and gets kReceived. Nothing is allocated for a message before it is accepted.
//
// Thread safety: none; the thread that made a transport makes all calls on it and destroys it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/clock.h"

namespace thinwire::comm {

using Buffer = std::vector<std::byte>;

// What a message is charged to. Wire bytes are our header and payload, counted once per destination by the
// sender; control bytes (digests, barriers, broadcasts, metrics) are counted apart. A backend's own envelope
// is transport, as TCP's is, and counted nowhere.
enum class Traffic : std::uint8_t { kWire = 0, kControl = 1 };

struct OutgoingMessage {
  int peer = 0;
  std::uint64_t sequence = 0;
  Traffic traffic = Traffic::kWire;
  std::span<const std::byte> bytes;  // must live until kSent; after an error see keep()
  bool expected = false;             // the peer has called expect(), or will
};

struct TransportEvent {
  enum class Kind : std::uint8_t {
    kSent,       // the bytes of (peer, sequence) may be reused
    kAnnounced,  // peer sends num_bytes as `sequence`; accept() it or leave it
    kMoved,      // a part of (peer, sequence) was sent or received, and more is to come
    kReceived,   // data of an accepted message
    kLost,       // peer sends nothing more; reason says why. Comes after what the peer announced.
  };
  Kind kind = Kind::kSent;
  int peer = 0;
  std::uint64_t sequence = 0;
  Traffic traffic = Traffic::kWire;
  std::size_t num_bytes = 0;
  Clock::time_point due{};  // kAnnounced: not expected before; the epoch if nothing is known
  Buffer data{};
  std::string reason{};
};

class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view name() const = 0;

  // Starts sending; never blocks. Returns when the message is expected to have left: now, or later if a
  // shaped link holds it. Deadlines count from there.
  virtual Clock::time_point send(const OutgoingMessage& message) = 0;

  // The peer will send `sequence` as an expected message of so many bytes: a backend may make room before it
  // comes, and deliver it with kReceived alone. Announcing it as any other message is right too.
  virtual void expect(int /*peer*/, std::uint64_t /*sequence*/, std::size_t /*num_bytes*/) {}

  // Starts receiving an announced message. Once for each.
  virtual void accept(int peer, std::uint64_t sequence) = 0;

  // Memory for accept() to use again: the data of a message that nobody needs any more. A backend may drop
  // it.
  virtual void reuse(Buffer /*storage*/) {}  // NOLINT(performance-unnecessary-value-param): others keep it

  // Moves what can be moved without blocking and appends what happened. Throws CommError if the library below
  // fails or a peer breaks the protocol.
  virtual void poll(std::vector<TransportEvent>& events) = 0;

  // When poll() will have something to do, if that is known.
  virtual std::optional<Clock::time_point> next_event() const { return std::nullopt; }

  // After an error: tells the peers, as far as possible, that this rank stops and why. No sends afterwards.
  virtual void leave(std::string_view reason) noexcept = 0;

  // The owner of messages that are still being sent when the transport ends. A backend whose library may read
  // them even then never lets go of it.
  virtual void keep(std::shared_ptr<const void> /*owner*/) {}  // NOLINT(performance-unnecessary-value-param)
};

}  // namespace thinwire::comm
