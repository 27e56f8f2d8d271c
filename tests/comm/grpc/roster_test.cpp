#include "comm/backend/grpc/roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thinwire::comm {
namespace {

using Kind = Refusal::Kind;
using testing::HasSubstr;

JoinRequest worker(const std::string& name) {
  return {.token = "secret",
          .name = name,
          .address = name + ":7000",
          .rank = std::nullopt,
          .config_digest = "c0ffee",
          .start_digest = "0",
          .config = "[inner]\nlr = 0.1\nsteps = 5\n"};
}

void expect_refusal(Roster& roster, const JoinRequest& request, Kind kind, const std::string& part) {
  try {
    roster.join(request);
    ADD_FAILURE() << "expected a refusal that says: " << part;
  } catch (const Refusal& refusal) {
    EXPECT_EQ(refusal.kind(), kind) << refusal.what();
    EXPECT_THAT(refusal.what(), HasSubstr(part));
  }
}

TEST(Roster, GivesRanksByNameWhateverTheOrderOfComing) {
  for (const auto& order : {std::vector<std::string>{"a", "b", "c"}, {"c", "a", "b"}, {"b", "c", "a"}}) {
    Roster roster(3, "secret");
    for (const std::string& name : order) {
      EXPECT_FALSE(roster.complete());
      roster.join(worker(name));
    }
    ASSERT_TRUE(roster.complete());
    EXPECT_EQ(roster.members()[0].name, "a");
    EXPECT_EQ(roster.members()[2].address, "c:7000");
  }
}

TEST(Roster, GivesRanksThatWereAskedForFirst) {
  Roster roster(3, "secret");
  JoinRequest last = worker("a");
  last.rank = 2;
  const auto id = roster.join(last);
  roster.join(worker("c"));
  roster.join(worker("b"));
  EXPECT_EQ(roster.rank_of(id), 2);
  EXPECT_EQ(roster.members()[0].name, "b");
  EXPECT_EQ(roster.members()[1].name, "c");
}

TEST(Roster, RefusesAWrongTokenOrNone) {
  Roster roster(2, "secret");
  JoinRequest request = worker("a");
  for (const char* token : {"secreT", "secre", "secretsecret", "", "another"}) {
    request.token = token;
    expect_refusal(roster, request, Kind::kToken, "token");
  }
  EXPECT_NO_THROW(roster.join(worker("a")));
}

TEST(Roster, NamesTheFirstLineInWhichAConfigDiffers) {
  Roster roster(2, "secret");
  roster.join(worker("a"));
  JoinRequest request = worker("b");
  request.config_digest = "bad";
  request.config = "[inner]\nlr = 0.2\nsteps = 5\n";
  expect_refusal(roster, request, Kind::kDiffers, "expected `lr = 0.1`, found `lr = 0.2`");
  request.config = "[inner]\nlr = 0.1\n";
  expect_refusal(roster, request, Kind::kDiffers, "expected `steps = 5`, found `nothing`");
  expect_refusal(roster, request, Kind::kDiffers, "expected digest c0ffee as a has, found bad");
}

TEST(Roster, RefusesAnotherStart) {
  Roster roster(2, "secret");
  roster.join(worker("a"));
  JoinRequest request = worker("b");
  request.start_digest = "another";
  expect_refusal(roster, request, Kind::kDiffers, "expected digest 0 as a has, found another");
}

TEST(Roster, RefusesFieldsOverTheirLimits) {
  Roster roster(2, "secret");
  JoinRequest request = worker("a");
  request.name = std::string(kMaxNameBytes + 1, 'n');
  expect_refusal(roster, request, Kind::kMalformed, "name: expected 1 to 64");
  request.name = "new\nline";
  expect_refusal(roster, request, Kind::kMalformed, "name");
  request = worker("a");
  request.address.clear();
  expect_refusal(roster, request, Kind::kMalformed, "address");
  request = worker("a");
  request.start_digest = std::string(kMaxDigestBytes + 1, '0');
  expect_refusal(roster, request, Kind::kMalformed, "start_digest");
  request = worker("a");
  request.config = std::string(kMaxConfigBytes + 1, 'x');
  expect_refusal(roster, request, Kind::kMalformed, "config of at most");
  request = worker("a");
  request.rank = 2;
  expect_refusal(roster, request, Kind::kMalformed, "expected 0 to 1, found 2");
  request = worker("a");
  request.protocol = kProtocol + 1;
  expect_refusal(roster, request, Kind::kMalformed, "same release");
}

TEST(Roster, RefusesANameOrRankThatIsTaken) {
  Roster roster(3, "secret");
  JoinRequest request = worker("a");
  request.rank = 1;
  roster.join(request);
  expect_refusal(roster, worker("a"), Kind::kTaken, "name a");
  request.name = "bob";
  expect_refusal(roster, request, Kind::kTaken, "found it taken by a");
}

TEST(Roster, FreesThePlaceOfAWorkerThatLeavesBeforeTheWorldIsComplete) {
  Roster roster(2, "secret");
  const auto gone = roster.join(worker("a"));
  roster.leave(gone, false);
  roster.join(worker("a"));
  EXPECT_FALSE(roster.complete());
  roster.join(worker("b"));
  EXPECT_TRUE(roster.complete());
}

TEST(Roster, IsFixedOnceComplete) {
  Roster roster(1, "secret");
  const auto id = roster.join(worker("a"));
  expect_refusal(roster, worker("b"), Kind::kFull, "complete");
  roster.leave(id, false);
  expect_refusal(roster, worker("a"), Kind::kFull, "complete");
  EXPECT_TRUE(roster.deserted());
  EXPECT_FALSE(roster.finished());
}

TEST(Roster, IsFinishedWhenEverybodyWas) {
  Roster roster(2, "");
  const auto a = roster.join(worker("a")), b = roster.join(worker("b"));
  roster.leave(a, true);
  EXPECT_FALSE(roster.deserted());
  roster.leave(b, true);
  EXPECT_TRUE(roster.deserted());
  EXPECT_TRUE(roster.finished());
}

TEST(Roster, RefusesAWorldOfNoneOrOfTooMany) {
  EXPECT_THROW(Roster(0, ""), std::invalid_argument);
  EXPECT_THROW(Roster(kMaxWorkers + 1, ""), std::invalid_argument);
}

}  // namespace
}  // namespace thinwire::comm
