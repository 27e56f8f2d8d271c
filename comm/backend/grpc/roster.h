// The coordinator's decisions, without its network: whom to admit, who gets which rank, who is missing.
// A fixed world: it is complete when `workers` have joined, and nobody joins afterwards.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/backend/grpc/membership.h"

namespace thinwire::comm {

// Why a worker was not admitted; the text says what was expected and found.
class Refusal : public std::runtime_error {
 public:
  enum class Kind {
    kMalformed,  // a field over its limit, another protocol
    kToken,
    kDiffers,  // config or start
    kTaken,    // rank or name
    kFull,
  };
  Refusal(Kind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

// Takes the same time wherever the texts differ; only the length of `given` shows.
bool equal_in_constant_time(const std::string& given, const std::string& expected);

class Roster {
 public:
  using Id = std::uint64_t;

  // token: empty admits without one. Throws std::invalid_argument unless 1 <= workers <= kMaxWorkers.
  Roster(int workers, std::string token);

  // Throws Refusal.
  Id join(JoinRequest request);

  // A worker is gone. Before the world is complete its place is free again; afterwards it is missing.
  void leave(Id id, bool finished);

  bool complete() const { return placed_; }
  // Of a complete world. Ranks that were asked for are given; the others go by name, so that a world of the
  // same names gets the same ranks again.
  const std::vector<Member>& members() const { return members_; }
  int rank_of(Id id) const { return ranks_.at(id); }

  // "2 of 3 workers came (a, b); rank 1 stays away"
  std::string attendance() const;
  // Everybody has left a complete world.
  bool deserted() const { return placed_ && present_.empty(); }
  // Nobody left it without having finished.
  bool finished() const { return placed_ && num_finished_ == workers_; }

 private:
  void check_form(const JoinRequest& request) const;
  void check_equal(const JoinRequest& request) const;
  void check_free(const JoinRequest& request) const;
  void place();

  const int workers_;
  const std::string token_;
  Id next_id_ = 1;
  std::map<Id, JoinRequest> present_;
  bool placed_ = false;
  std::vector<Member> members_;
  std::map<Id, int> ranks_;
  int num_finished_ = 0;
};

}  // namespace thinwire::comm
