import { NO_CONSENT } from '../crowd.ts';
import { personAt } from '../people.ts';
import type { Person } from '../people.ts';
import { STEPS } from '../quotas.ts';
import { at, Random } from '../random.ts';
import { customerMembers, motionMembers, stepMembers } from '../records.ts';
import type { CrowdRecords, Customer, Members } from '../records.ts';

/** The day before the first crowd walked: there are no clean readings then. */
const DAY_BEFORE = Date.UTC(2022, 5, 17);
const BETWEEN_READINGS = 20;

/**
 * What defects are made of. Fresh records are valid and new, and belong to people without consent, so that a landing zone with defects
 * has the same trusted tables as one without; `freshWithdrawal` says when that holds for its own. Clean records are some of those in the clean files.
 */
export class Material {
  readonly #seed: number;
  readonly #clean: CrowdRecords;
  readonly #random: Random;
  readonly #consenting: number[];
  readonly #others: number[];
  #nextPerson: number;
  #nextTime = DAY_BEFORE;
  #turn = 0;

  /** @param customers how many people the clean files hold @param clean the first of their crowds */
  constructor(seed: number, customers: number, clean: CrowdRecords) {
    this.#seed = seed;
    this.#clean = clean;
    this.#random = new Random(seed, 0xd127);
    this.#nextPerson = customers;
    const people = Array.from(clean.customers.keys());
    this.#consenting = people.filter((person) => at(clean.crowd.datedSteps, person) !== NO_CONSENT);
    this.#others = people.filter((person) => at(clean.crowd.datedSteps, person) === NO_CONSENT);
  }

  /** A person in no clean file. */
  stranger(): Person {
    this.#nextPerson += 1;
    return personAt(this.#seed, this.#nextPerson - 1);
  }

  freshCustomer(person = this.stranger()): Members {
    const registrationDate = this.#time();
    return customerMembers({ ...withoutSharing, ...person, registrationDate, lastUpdateDate: registrationDate });
  }

  freshMotion(user = this.#someoneElse().email): Members {
    return motionMembers(user, this.#time(), this.#random.below(18));
  }

  freshStep(serialNumber = this.#someoneElse().serialNumber): Members {
    return stepMembers(this.#time(), serialNumber, this.#random.between(201, 300));
  }

  /** The clean record of a person who consents. */
  cleanCustomer(): Members {
    return customerMembers(this.#someoneWhoShares());
  }

  /** The clean record of a person who doesn't. */
  cleanCustomerWithoutConsent(): Members {
    return customerMembers(this.#someoneElse());
  }

  /**
   * A new record, without consent, of a person who consents. It changes no trusted table if its caller removes its
   * `lastUpdateDate` or makes it earlier.
   */
  freshWithdrawal(): Members {
    return customerMembers({ ...this.#someoneWhoShares(), ...withoutSharing, registrationDate: this.#time() });
  }

  cleanMotion(): Members {
    return this.#clean.motion(this.#taken(this.#consenting), this.#turn % STEPS);
  }

  cleanStep(): Members {
    return this.#clean.step(this.#taken(this.#consenting), this.#turn % STEPS);
  }

  #someoneWhoShares(): Customer {
    return at(this.#clean.customers, this.#taken(this.#consenting));
  }

  #someoneElse(): Customer {
    return at(this.#clean.customers, this.#taken(this.#others));
  }

  /** In turn, and from the start again. */
  #taken(people: readonly number[]): number {
    this.#turn += 1;
    return at(people, this.#turn % people.length);
  }

  #time(): number {
    this.#nextTime += BETWEEN_READINGS;
    return this.#nextTime;
  }
}

const withoutSharing = {
  shareWithResearchAsOfDate: undefined,
  shareWithPublicAsOfDate: undefined,
  shareWithFriendsAsOfDate: undefined,
};
